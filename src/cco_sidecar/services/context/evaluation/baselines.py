"""What contexts are compared with: plain ways of filling a budget with whole files."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from cco_sidecar.core.lru import ByteLru
from cco_sidecar.ranking.chunks import lines_in
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.snapshot import FileStat, Snapshot
from cco_sidecar.services.context.candidates import MAX_FILE_BYTES

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[^\W\d]\w*|\d{3,}")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CACHE_BYTES = 256 * 2**20
_BYTES_OF_WORD = 120
# Lines from 1, by path.
Given = dict[str, list[tuple[int, int]]]


def filled(order: Iterator[tuple[str, bytes]], max_bytes: int) -> Given:
    """Returns whole files in order, and the beginning of the one that does not fit any more."""
    given: Given = {}
    space = max_bytes
    for path, data in order:
        count = lines_in(data)
        if len(data) > space:
            lines = data[:space].count(b"\n")
            if lines:
                given[path] = [(1, lines)]
            return given
        space -= len(data)
        given[path] = [(1, count)]
    return given


def in_directory_order(snapshot: Snapshot, texts: FileCache) -> Iterator[tuple[str, bytes]]:
    """Yields the files by path."""
    for path in sorted(snapshot.files):
        data = _data(snapshot, texts, path)
        if data is not None:
            yield path, data


class Bm25:
    """BM25 over whole files and their paths, with identifiers as a whole and in parts."""

    def __init__(self, texts: FileCache) -> None:
        self._texts = texts
        self._counts: ByteLru[tuple[str, FileStat], Counter[str]] = ByteLru(_CACHE_BYTES)

    def order(self, snapshot: Snapshot, task: str) -> Iterator[tuple[str, bytes]]:
        """Yields the files, the best first."""
        wanted = sorted(set(_words(task)))
        counts = {}
        for path, info in snapshot.files.items():
            known = self._counts.get((path, info))
            if known is None:
                data = _data(snapshot, self._texts, path)
                if data is None:
                    continue
                known = Counter(_words(f"{path} {data.decode()}"))
                self._counts.put((path, info), known, _BYTES_OF_WORD * len(known))
            counts[path] = known
        size = len(counts)
        length = {path: known.total() for path, known in counts.items()}
        average = sum(length.values()) / max(1, size)
        weights = {}
        for word in wanted:
            number = sum(word in known for known in counts.values())
            weights[word] = math.log(1 + (size - number + 0.5) / (number + 0.5))
        scores = {}
        for path, known in counts.items():
            norm = _K1 * (1 - _B + _B * length[path] / average)
            scores[path] = sum(
                weights[word] * n * (_K1 + 1) / (n + norm) for word in wanted if (n := known.get(word, 0))
            )
        for path in sorted(scores, key=lambda path: (-scores[path], path)):
            data = _data(snapshot, self._texts, path)
            if data is not None:
                yield path, data


def _data(snapshot: Snapshot, texts: FileCache, path: str) -> bytes | None:
    info = snapshot.files[path]
    if info.size > MAX_FILE_BYTES:
        return None
    raw = texts.raw(snapshot.root, path, info)
    return None if raw.problem else raw.data


def _words(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield word.lower()
        parts = _PART.findall(word)
        if len(parts) > 1:
            yield from map(str.lower, parts)
