"""Which files a context within a budget can hold."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.core.lru import ByteLru
from cco_sidecar.core.reasons import Reason
from cco_sidecar.ranking.chunks import Chunked
from cco_sidecar.repository import masking
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.masking import CleanFiles
from cco_sidecar.repository.snapshot import FileStat, Snapshot

# Larger files are rarely written by people.
MAX_FILE_BYTES = 1024 * 1024
# Of a repository with more files or more text, the smaller files are read.
_MAX_FILES = 100_000
_MAX_BYTES = 128 * 2**20
# What a file that was split takes in memory beside its text, on average.
_CHUNKED_BYTES = 2048
# Larger files are not masked ahead, and no more are after one that took so long.
_AHEAD_BYTES, _AHEAD_SECONDS = 64 * 1024, 0.05


class Candidates(NamedTuple):
    """``files`` can be chosen from, by path; ``problems``: why the other files of the snapshot cannot."""

    files: Mapping[str, Chunked]
    problems: Mapping[str, str]


class _Latest(NamedTuple):
    root: Path
    stats: Mapping[str, FileStat]
    files: Mapping[str, Chunked]


class CandidateCache:
    """Reads candidates, and caches them up to a total size; besides, those of the latest project."""

    def __init__(self, texts: FileCache, most_bytes: int, clean: CleanFiles | None = None) -> None:
        """``clean``: what is known of files from earlier processes."""
        self._texts = texts
        self._clean = clean
        self._known: ByteLru[Hashable, Chunked] = ByteLru(most_bytes)
        self._latest = _Latest(Path(), {}, {})
        self._unmasked: deque[Chunked] = deque()

    def of(self, snapshot: Snapshot) -> Candidates:
        files: dict[str, Chunked] = {}
        problems: dict[str, str] = {}
        space = _MAX_BYTES
        rules, excludes = snapshot.rules, snapshot.rules.excludes
        before, known = ({}, {}) if self._latest.root != snapshot.root else (self._latest.stats, self._latest.files)
        for path, info in _in_order(snapshot.files):
            if excludes and rules.is_excluded(path):
                problems[path] = Reason.EXCLUDED
            elif len(files) >= _MAX_FILES:
                problems[path] = Reason.TOO_MANY
            elif info.size > MAX_FILE_BYTES or info.size > space:
                problems[path] = Reason.TOO_LARGE
            else:
                space -= info.size
                file = known.get(path) if before.get(path) == info else None
                found = file or self._read(snapshot.root, path, info)
                if isinstance(found, str):
                    problems[path] = found
                else:
                    files[path] = found
        if not known:
            self._unmasked.clear()
        self._unmasked.extend(file for path, file in files.items() if file is not known.get(path))
        self._latest = _Latest(snapshot.root, snapshot.files, files)
        return Candidates(files, problems)

    def mask_another(self) -> bool:
        """Masks a file of the latest project, so that a task that finds something in it need not; False if all are."""
        if not self._unmasked:
            return False
        file = self._unmasked.popleft()
        if len(file.raw) <= _AHEAD_BYTES:
            started = time.monotonic()
            clean = file.data is file.raw
            if clean and self._clean is not None:
                self._clean.add(file.raw, file.path)
            if time.monotonic() - started > _AHEAD_SECONDS:
                # Somebody may wait: a file like this one is masked when it is needed.
                self._unmasked.clear()
        if not self._unmasked and self._clean is not None:
            self._clean.save()
        return True

    def clear(self) -> None:
        self._known.clear()
        self._latest = _Latest(Path(), {}, {})
        self._unmasked.clear()

    def _read(self, root: Path, path: str, info: FileStat) -> Chunked | str:
        """Returns a file, or why it cannot be chosen."""
        key = (root, path, info)
        file = self._known.get(key)
        if file is None:
            raw = self._texts.raw(root, path, info)
            if raw.problem:
                return raw.problem
            file = Chunked(path, raw.data, partial(self._masked, path))
            # A file that changes while it is read is looked at again: the next snapshot has another time of it.
            if raw.stat == info:
                self._known.put(key, file, len(raw.data) + _CHUNKED_BYTES)
        return file

    def _masked(self, path: str, data: bytes) -> bytes:
        if self._clean is not None and self._clean.holds(data, path):
            return data
        return masking.mask_file(data, path)[0]


def _in_order(files: Mapping[str, FileStat]) -> Iterable[tuple[str, FileStat]]:
    """Returns the files; if there are too many to read all, the smaller ones first, and empty ones last."""
    many = len(files) > _MAX_FILES
    if not many and sum(info.size for info in files.values() if info.size <= MAX_FILE_BYTES) <= _MAX_BYTES:
        return files.items()
    return sorted(files.items(), key=lambda item: (many and not item[1].size, item[1].size, item[0]))
