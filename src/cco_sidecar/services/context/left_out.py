"""What a context within a budget does not hold: the manifest's map of the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import islice

from cco_sidecar.core.reasons import Reason
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context import sections
from orchestra.v1.context_service_pb2 import DISPOSITION_LEFT_OUT, Manifest, ManifestEntry

# Bytes of the budget for each entry that stands for several files, and for each that names one; and how many at most.
_GROUP_BYTES, _MAX_GROUPS = 4000, 60
_NAME_BYTES, _MAX_NAMES = 10_000, 60
_MAX_DEPTH = 6
_KIND_CHARACTERS, _DIRECTORY_CHARACTERS, _NAME_CHARACTERS = 40, 80, 300
# In a pattern, a question mark stands for any character.
_UNPRINTABLE = re.compile(r"[^ -~\u00a0-\ud7ff\ue000-\U0010ffff]")

# Number and size of the files of a group, by reason and pattern.
Groups = dict[tuple[str, str], tuple[int, int]]


class LeftOut:
    """The files of a snapshot, in groups that are small enough in number for a budget."""

    def __init__(
        self, snapshot: Snapshot, problems: Mapping[str, str], shares: Mapping[str, float], max_bytes: int
    ) -> None:
        """``problems``: why files cannot be chosen; ``shares``: scores, by path."""
        self._files = snapshot.files
        self._shares = shares
        self._best = sorted(shares, key=lambda path: (-shares[path], path))
        self._names = min(_MAX_NAMES, max_bytes // _NAME_BYTES)
        self._most = min(_MAX_GROUPS, max_bytes // _GROUP_BYTES + 2)
        barred: Groups = {}
        for path, reason, size in snapshot.barred:
            _count(barred, (reason, _kind(path)), size)
        for path, reason in problems.items():
            _count(barred, (reason, _kind(path)), snapshot.files[path].size)
        self._barred = _at_most(barred, self._most // 2)
        paths = tuple(path for path in snapshot.files if path not in problems)
        self._directories = _by_directory(paths, self._most - len(self._barred))
        self._groups = self._grouped()

    def add(self, manifest: Manifest, chosen: Collection[str]) -> None:
        """Adds entries for all files that are not ``chosen``: those that matter most by name, the others by directory,
        and those that cannot be chosen by reason and kind."""
        candidates = (
            path for path in self._best if path not in chosen and sections.json_bytes(path) <= _NAME_CHARACTERS
        )
        named = list(islice(candidates, self._names))
        for path in named:
            _add(manifest, path, Reason.LESS_RELEVANT, 1, self._files[path].size, self._shares[path])
        groups = dict(self._groups)
        for path in (*named, *chosen):
            key = (Reason.LESS_RELEVANT, self._directories[path])
            count, size = groups[key]
            groups[key] = (count - 1, size - self._files[path].size)
        groups = {key: group for key, group in groups.items() if group[0]}
        for (reason, pattern), (count, size) in sorted((_at_most(groups, self._most) | self._barred).items()):
            _add(manifest, pattern, reason, count, size)

    def _grouped(self) -> Groups:
        sizes = dict.fromkeys(self._directories.values(), 0)
        for path, directory in self._directories.items():
            sizes[directory] += self._files[path].size
        counts = Counter(self._directories.values())
        return {(Reason.LESS_RELEVANT, directory): (counts[directory], size) for directory, size in sizes.items()}


@lru_cache(maxsize=8)
def _by_directory(paths: tuple[str, ...], most: int) -> Mapping[str, str]:
    """Returns the pattern of the directory that stands for each file: as deep as ``most`` different ones allow."""
    files = [path.split("/") for path in paths]
    chosen: list[str] = []
    count = 0
    for depth in range(1, _MAX_DEPTH + 1):
        directories = [_directory(parts, depth) for parts in files]
        different = len(set(directories))
        if depth > 1 and (different > most or different == count):
            break
        chosen, count = directories, different
    return dict(zip(paths, chosen, strict=True))


def _add(manifest: Manifest, path: str, reason: str, count: int, size: int, score: float | None = None) -> None:
    manifest.files_left_out += count
    entry = ManifestEntry(
        path=sections.utf8(path) if score is not None else _UNPRINTABLE.sub("?", sections.utf8(path)),
        disposition=DISPOSITION_LEFT_OUT,
        reason=reason,
        bytes=size,
        files=count,
        score=score,
    )
    manifest.entries.append(entry)


def _count(groups: Groups, key: tuple[str, str], size: int) -> None:
    count, total = groups.get(key, (0, 0))
    groups[key] = (count + 1, total + size)


def _directory(parts: list[str], depth: int) -> str:
    """Returns the pattern for a file: ``src/api/**`` for a depth of 2."""
    if len(parts) == 1:
        return "/*"
    pattern = "/".join((*parts[: min(depth, len(parts) - 1)], "**" if len(parts) > depth else "*"))
    return pattern if len(pattern) <= _DIRECTORY_CHARACTERS else f"{pattern[: _DIRECTORY_CHARACTERS - 3]}*/**"


def _at_most(groups: Groups, most: int) -> Groups:
    """Merges the smallest groups of each reason."""
    order = sorted(groups, key=lambda key: (-groups[key][0], key))
    kept = {key: groups[key] for key in order[: max(0, most)]}
    for key in order[max(0, most) :]:
        rest = (key[0], "*")
        count, size = kept.get(rest, (0, 0))
        kept[rest] = (count + groups[key][0], size + groups[key][1])
    return kept


def _kind(path: str) -> str:
    return sections.kind(path)[:_KIND_CHARACTERS]
