"""What a context within a budget does not hold: the manifest's map of the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context import sections
from orchestra.v1.context_service_pb2 import DISPOSITION_LEFT_OUT, Manifest, ManifestEntry

LESS_RELEVANT = "less_relevant"
# Bytes of the budget for each entry that stands for several files, and for each that names one; and how many at most.
_GROUP_BYTES, _MAX_GROUPS = 4000, 60
_NAME_BYTES, _MAX_NAMES = 10_000, 60
_MAX_DEPTH = 6
_KIND_CHARACTERS, _DIRECTORY_CHARACTERS = 40, 80

# Reason and pattern, with the sizes of the files.
Groups = dict[tuple[str, str], list[int]]


def add_left_out(
    manifest: Manifest,
    snapshot: Snapshot,
    problems: Mapping[str, str],
    chosen: Collection[str],
    shares: Mapping[str, float],
    max_bytes: int,
) -> None:
    """Adds entries for all files that are not ``chosen``: those that matter most by name, the others by directory, and
    those that cannot be chosen by reason and kind. ``shares``: scores, by path."""
    rest = [path for path in snapshot.files if path not in chosen and path not in problems]
    scored = sorted((path for path in rest if path in shares), key=lambda path: (-shares[path], path))
    named = scored[: min(_MAX_NAMES, max_bytes // _NAME_BYTES)]
    for path in named:
        _add(manifest, path, LESS_RELEVANT, [snapshot.files[path].size], shares[path])
    barred: Groups = {}
    for path, reason, size in snapshot.barred:
        barred.setdefault((reason, _kind(path)), []).append(size)
    for path, reason in problems.items():
        barred.setdefault((reason, _kind(path)), []).append(snapshot.files[path].size)
    most = min(_MAX_GROUPS, max_bytes // _GROUP_BYTES + 2)
    barred = _at_most(barred, most // 2)
    kept = set(named)
    groups = _by_directory(snapshot, [path for path in rest if path not in kept], most - len(barred))
    for (reason, pattern), sizes in sorted((groups | barred).items()):
        _add(manifest, pattern, reason, sizes)


def _add(manifest: Manifest, path: str, reason: str, sizes: list[int], score: float | None = None) -> None:
    manifest.files_left_out += len(sizes)
    entry = ManifestEntry(
        path=sections.utf8(path),
        disposition=DISPOSITION_LEFT_OUT,
        reason=reason,
        bytes=sum(sizes),
        files=len(sizes),
        score=score,
    )
    manifest.entries.append(entry)


def _by_directory(snapshot: Snapshot, paths: Iterable[str], most: int) -> Groups:
    """Groups files by directory, as deep as ``most`` groups allow."""
    files = [(path.split("/"), snapshot.files[path].size) for path in paths]
    best: Groups = {}
    for depth in range(1, _MAX_DEPTH + 1):
        groups: Groups = {}
        for parts, size in files:
            groups.setdefault((LESS_RELEVANT, _directory(parts, depth)), []).append(size)
        if depth > 1 and (len(groups) > most or len(groups) == len(best)):
            break
        best = groups
    return _at_most(best, most)


def _directory(parts: list[str], depth: int) -> str:
    """Returns the pattern for a file: ``src/api/**`` for a depth of 2."""
    whole = len(parts) > depth
    pattern = "/".join((*parts[: min(depth, len(parts) - 1)], "**" if whole else "*"))
    return pattern if len(pattern) <= _DIRECTORY_CHARACTERS else f"{pattern[: _DIRECTORY_CHARACTERS - 3]}*/**"


def _at_most(groups: Groups, most: int) -> Groups:
    """Merges the smallest groups of each reason."""
    order = sorted(groups, key=lambda key: (-len(groups[key]), key))
    kept = {key: groups[key] for key in order[: max(0, most)]}
    for key in order[max(0, most) :]:
        kept.setdefault((key[0], "*"), []).extend(groups[key])
    return kept


def _kind(path: str) -> str:
    return sections.kind(path)[:_KIND_CHARACTERS]
