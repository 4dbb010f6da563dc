"""The prefix of a task that says which part it is about, such as `storage/sql: ...` or `fix(parser): ...`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from cco_sidecar.ranking.chunks import Chunked

_SCOPE = 6.4
# "pkg/dir: ...", "fix(scope): ...", "[scope] ..."
_PREFIX = re.compile(r"^\s*(?:\[([^\]\n]{1,60})\]\s*)?(?:([\w\-./,*{}|& ]{1,60}?)(?:\(([^)\n]{1,60})\))?!?:\s)?")
_SCOPE_SEPARATOR = re.compile(r"[,|&\s{}]+")
_KINDS = """
fix feat chore docs doc test tests refactor build ci style perf bugfix feature bug revert deps wip types type all
misc release fixes
"""
_COMMIT_KINDS = frozenset(_KINDS.split())


def named_by(task: str, files: Mapping[str, Chunked]) -> dict[str, float]:
    """Returns what the files get that the prefix of a task names."""
    match = _PREFIX.match(task)
    groups = [group for group in (match.groups() if match else ()) if group]
    names = [name.strip("*./ ").lower() for group in groups for name in _SCOPE_SEPARATOR.split(group)]
    added: dict[str, float] = {}
    for name in names:
        if len(name) < 2 or name in _COMMIT_KINDS or name[0].isdigit():
            continue
        matches = {path: share for path in files if (share := _share_of_scope(name, path))}
        if matches:
            count = len(matches)
            weight = _SCOPE * math.log(1 + (len(files) - count + 0.5) / (count + 0.5))
            for path, share in matches.items():
                added[path] = added.get(path, 0.0) + weight * share
    return added


def _share_of_scope(name: str, path: str) -> float:
    lowered = f"/{path.lower()}"
    if "/" in name and (f"/{name}/" in lowered or f"/{name}." in lowered):
        return 1.0
    last = name.rpartition("/")[2]
    directory, _, file = lowered.rpartition("/")
    if file.partition(".")[0] == last or directory.endswith(f"/{last}"):
        return 1.0
    if f"/{last}/" in directory:
        return 0.5
    delimited = "/" not in name and re.search(rf"[/_.-]{re.escape(last)}[/_.-]", lowered) is not None
    return 0.4 if delimited else 0.0
