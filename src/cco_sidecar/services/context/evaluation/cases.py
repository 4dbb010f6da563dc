"""Tasks from the past of a repository: the message of a commit, and the lines that it changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from cco_sidecar.ranking.chunks import lines_in
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.repository.trees import PastCommit, Trees

# Commits that are looked at, for each that is used.
_LOOKED_AT = 20
_MOST_FILES, _MOST_HUNKS = 8, 40
_LEAST_WORDS = 5
_ONLY_NEW = "changes only in new, binary or lock files"
_TASK_CHARACTERS = 4096
# Commits that say nothing about where they change something.
_ROUTINE = re.compile(
    r"(?i)(bump|release|prepare|version|merge|revert|chore\(deps|build\(deps|fix\(deps|deps|v?\d+\.\d"
    r"|update dependency|update dependencies)|dependabot|renovate|pre-commit autoupdate"
)
_TRAILER = re.compile(
    r"(?i)(signed-off|co-authored|reviewed|tested|acked|reported)-by:|(close[sd]?|fixe?[sd]?) #\d+\.?$"
)
_BOT = re.compile(r"(?i)\bbot\b|\[bot\]|-bot$")
_WORD = re.compile(r"[^\W\d_]{3,}")
_QUOTES = "`\"',:;()[]."
_LOCK = re.compile(r"(?i)(^|[-./])lock\b|\.lock$|\.(svg|png|snap|sum)$")


class Case(NamedTuple):
    """A commit as a task. ``wanted``: the lines that it changed, from 1, by path; ``snapshot``: what was there
    before."""

    commit: PastCommit
    task: str
    wanted: dict[str, list[tuple[int, int]]]
    snapshot: Snapshot


def cases(trees: Trees, most: int, skipped: Counter[str]) -> Iterator[Case]:
    """Yields the newest commits that can be tasks: not routine, with a message of some words, and with changes to a few
    files that exist. Counts in ``skipped`` why others cannot. Raises GitFailed."""
    found = 0
    for commit in trees.commits(most * _LOOKED_AT):
        if found >= most:
            return
        subject = commit.message.partition("\n")[0]
        if _ROUTINE.match(subject) or _BOT.search(commit.author):
            skipped["a routine message, such as of a release"] += 1
            continue
        wanted = {path: hunks for path, hunks in trees.hunks(commit).items() if not _LOCK.search(path)}
        if not 1 <= len(wanted) <= _MOST_FILES or sum(map(len, wanted.values())) > _MOST_HUNKS:
            large = f"changes in more than {_MOST_FILES} files or {_MOST_HUNKS} places"
            skipped[large if wanted else _ONLY_NEW] += 1
            continue
        snapshot = trees.snapshot(commit.parent)
        task = task_of(commit.message, snapshot)
        if len(_WORD.findall(task)) < _LEAST_WORDS:
            skipped[f"a message of fewer than {_LEAST_WORDS} words, beside names of files"] += 1
            continue
        clipped = _clipped(wanted, snapshot, trees)
        if clipped:
            found += 1
            yield Case(commit, task, clipped, snapshot)
        else:
            skipped[_ONLY_NEW] += 1


def task_of(message: str, snapshot: Snapshot) -> str:
    """Returns a commit's message without trailers and without the names of files."""
    names = {path.rpartition("/")[2] for path in snapshot.files}
    kept = []
    for line in message.split("\n"):
        if not _TRAILER.match(line.strip()):
            words = [word for word in line.split() if not _is_file(word.strip(_QUOTES), names)]
            kept.append(" ".join(words))
    return "\n".join(kept).strip()[:_TASK_CHARACTERS]


def _is_file(word: str, names: set[str]) -> bool:
    return word in names or ("/" in word and "." in word)


def _clipped(
    wanted: dict[str, list[tuple[int, int]]], snapshot: Snapshot, trees: Trees
) -> dict[str, list[tuple[int, int]]]:
    """Returns the wanted lines that exist, of files that a context can hold."""
    found = {}
    for path, hunks in wanted.items():
        info = snapshot.files.get(path)
        if info is None or trees.texts.raw(snapshot.root, path, info).problem:
            continue
        count = lines_in(trees.blob(info))
        found[path] = [(min(first, count), min(last, count)) for first, last in hunks]
    return found
