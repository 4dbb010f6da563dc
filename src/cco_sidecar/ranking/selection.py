"""Selects the files for an agent's context, and their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from cco_sidecar.core.agent_types import EVERYONE, AgentType
from cco_sidecar.core.reasons import Reason, Signal
from cco_sidecar.repository.patterns import Patterns
from cco_sidecar.repository.snapshot import Snapshot

FileSets = Mapping[str, tuple[str, ...]]

_DAY_NS = 24 * 3600 * 10**9
_OF_ALL_TYPES = ("source", "tests", "documentation", "configuration", "dependencies", "notebooks")
# A type with fewer files of its own, which are a smaller share of the project, gets those of all.
_LEAST_OWN, _LEAST_SHARE = 3, 0.12
# Groups that work on tests.
_TESTS_FIRST = frozenset({"quality", "security"})
_WORD = re.compile(r"[A-Za-z0-9_\-./]{3,}")
# What follows a path that is only the beginning of another.
_GOES_ON = re.compile(r"[\w/]|[.\-]\w")
_COMPOUND = re.compile(r"[_-]|[a-z][A-Z]")


class Choice(NamedTuple):
    """A file for the context: its ``rank`` (lower comes first), the reason, and whether to include only comments."""

    rank: int
    path: str
    reason: str
    comments: bool = False


def choose(
    snapshot: Snapshot, agent: AgentType, file_sets: FileSets, task: str, decided: Iterable[str]
) -> list[Choice]:
    """Returns the files in the documented order of priority. ``decided`` are files named by earlier decisions.

    A type that finds next to nothing of its own, as a Go specialist in a Python project, gets the files of all types.
    """
    choices = _chosen(snapshot, agent, file_sets, task, decided)
    everyone = Patterns(file_sets.get(EVERYONE, ()))
    own = sum(1 for _ in islice((choice for choice in choices if not everyone.match(choice.path)), _LEAST_OWN))
    if own < _LEAST_OWN and own <= _LEAST_SHARE * len(snapshot.files):
        every = (pattern for name in _OF_ALL_TYPES for pattern in file_sets.get(name, ()))
        agent = replace(agent, file_patterns=(*agent.file_patterns, *every))
        choices = _chosen(snapshot, agent, file_sets, task, decided)
    return sorted(choices)


def _chosen(
    snapshot: Snapshot, agent: AgentType, file_sets: FileSets, task: str, decided: Iterable[str]
) -> list[Choice]:
    source = file_sets.get("source", ()) if agent.comments else ()
    by_type = _by_type(snapshot.paths, agent.file_patterns, agent.required, source, _kinds(agent, file_sets))
    named = named_by(task, snapshot.paths, words=True)
    recent = _recently_changed(snapshot)
    touched = set(decided)
    choices = []
    rules = snapshot.rules
    excludes, favours = rules.excludes, bool(rules.always)
    for path in snapshot.files:
        if excludes and rules.is_excluded(path):
            continue
        choice = by_type.get(path)
        if favours and rules.is_first(path):
            choices.append(Choice(-1, path, Reason.ALWAYS))
        elif path in named:
            choices.append(Choice(0, path, Signal.NAMED_BY_TASK))
        elif choice is not None and choice.reason == Signal.REQUIRED:
            choices.append(choice)
        elif path in touched:
            choices.append(Choice(1, path, Signal.NAMED_BY_DECISION))
        elif choice is None:
            continue
        elif path in recent and not choice.comments:
            choices.append(Choice(2, path, Reason.CHANGED_RECENTLY))
        else:
            choices.append(choice)
    return choices


@lru_cache(maxsize=8)
def _by_type(
    paths: tuple[str, ...],
    wanted: tuple[str, ...],
    required: tuple[str, ...],
    source: tuple[str, ...],
    kinds: tuple[tuple[int, str, tuple[str, ...]], ...],
) -> Mapping[str, Choice]:
    """Returns the files that an agent type reads, by path; patterns as tuples. An edit changes no paths, so this is
    remembered. ``source``: files of which it reads the comments only."""
    own, asked, commented = Patterns(wanted), Patterns(required), Patterns(source)
    of_kind = [(rank, reason, Patterns(patterns)) for rank, reason, patterns in kinds]
    choices: dict[str, Choice] = {}
    for path in paths:
        if required and asked.match(path):
            choices[path] = Choice(1, path, Signal.REQUIRED)
        elif own.match(path):
            rank, reason = next(
                ((rank, reason) for rank, reason, patterns in of_kind if patterns.match(path)), (4, Reason.SOURCE)
            )
            choices[path] = Choice(rank, path, reason)
        elif source and commented.match(path):
            choices[path] = Choice(9, path, Reason.COMMENTS_ONLY, comments=True)
    return choices


def _kinds(agent: AgentType, file_sets: FileSets) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Returns rank, reason and patterns of tests, documentation and configuration.

    Other source files have rank 4, before tests, except for groups that work on tests.
    """
    tests = 3 if agent.group in _TESTS_FIRST else 5
    return (
        (tests, Reason.TEST, file_sets.get("tests", ())),
        (7, Reason.DOCUMENTATION, file_sets.get("documentation", ())),
        (6, Reason.CONFIGURATION, (*file_sets.get("configuration", ()), *file_sets.get("dependencies", ()))),
    )


@lru_cache(maxsize=32)
def named_by(task: str, paths: tuple[str, ...], *, words: bool = False) -> frozenset[str]:
    """Returns the files that a task names: by path, name, or a stem that is no plain word, such as `retry_queue`.

    ``words``: plain words count too, so `queue` names `queue.py`.
    """
    if not task:
        return frozenset()
    found = {path for path in paths if _stands_in(path, task)}
    # A path is not named again by its parts.
    for path in sorted(found, key=len, reverse=True):
        task = task.replace(path, " ")
    given = {word.strip("./") for word in _WORD.findall(task)}
    for path in paths if given else ():
        name = path.rpartition("/")[2]
        stem = name.partition(".")[0]
        by_stem = stem in given and (words or _COMPOUND.search(stem) is not None)
        if by_stem or ("." in name and name in given):
            found.add(path)
    return frozenset(found)


def _stands_in(path: str, task: str) -> bool:
    """Whether a task has a path as a whole; of names without a directory, those with a suffix."""
    at = task.find(path) if "/" in path or "." in path else -1
    while at >= 0:
        before, after = task[at - 1 : at], task[at + len(path) : at + len(path) + 2]
        if not (before.isalnum() or before in ("/", "_", "-")) and not _GOES_ON.match(after):
            return True
        at = task.find(path, at + 1)
    return False


def _recently_changed(snapshot: Snapshot) -> set[str]:
    """Returns uncommitted changes, and files changed in the 24 hours before the newest commit.

    Without git, returns files modified in the 24 hours before the newest one. The time is not counted from now, so that
    the same commit and worktree give the same context.
    """
    commits = snapshot.git.recent_commits
    changed = {change.path for change in snapshot.git.uncommitted_changes}
    if not commits and not changed:
        newest = max((info.mtime_ns for info in snapshot.files.values()), default=0)
        return {path for path, info in snapshot.files.items() if info.mtime_ns > newest - _DAY_NS}
    newest = max((commit.timestamp.seconds for commit in commits), default=0)
    for commit in commits:
        if commit.timestamp.seconds > newest - 86_400:
            changed.update(commit.files_changed)
    return changed
