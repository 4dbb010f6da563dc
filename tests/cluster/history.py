"""What clients of a cluster did and saw, and what must not be in it, in the manner of Jepsen.

A call that was answered counts; one that failed may have been done or not. So what was acknowledged must be there, and
what is there must be there once.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class Seen:
    """An event as a reader got it. ``key``: what its publisher called it."""

    key: str
    event_id: str

    @property
    def number(self) -> int:
        return int(self.event_id.rpartition("-")[2])


@dataclass
class Run:
    """One process of an agent, with the times at which it said that it lives, in seconds since the boot."""

    agent_id: str
    process: str
    first: float
    last: float


@dataclass
class History:
    """Not changed any more when it is checked."""

    # By the key of the publisher: the id that it was told.
    published: dict[str, str] = field(default_factory=dict)
    # By reader: what its polls returned, in order. And how many gaps they declared.
    read: defaultdict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    gaps: Counter[str] = field(default_factory=Counter)
    # What a consumer's workers did, in order: `delivered` or `settled`, and the key.
    consumed: list[tuple[str, str]] = field(default_factory=list)
    # By the key of their publisher: the results that were acknowledged; and those that are there at the end.
    stored: dict[str, str] = field(default_factory=dict)
    found: list[tuple[str, str]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def faults(history: History) -> list[str]:
    """Returns what must not be, in words."""
    return [*_of_readers(history), *_of_consumers(history), *_of_results(history), *_of_agents(history)]


def _of_readers(history: History) -> list[str]:
    found = []
    for reader, events in history.read.items():
        keys = Counter(each.key for each in events)
        found += [f"{reader} did not get the acknowledged event {key}" for key in history.published if key not in keys]
        found += [f"{reader} got {key} {times} times" for key, times in keys.items() if times > 1]
        found += [
            f"{reader} got {after.event_id} after {before.event_id}"
            for before, after in pairwise(events)
            if after.number <= before.number
        ]
        found += [
            f"{reader} got {each.key} as {each.event_id}, and its publisher was told {history.published[each.key]}"
            for each in events
            if history.published.get(each.key, each.event_id) != each.event_id
        ]
        if history.gaps[reader]:
            found.append(f"{reader} was told of {history.gaps[reader]} gaps")
    everything = {reader: [each.key for each in events] for reader, events in history.read.items()}
    for (one, first), (other, second) in pairwise(sorted(everything.items())):
        if first != second:
            found.append(f"{one} and {other} did not get the same events")
    return found


def _of_consumers(history: History) -> list[str]:
    found = []
    settled: set[str] = set()
    for what, key in history.consumed:
        if what == "delivered" and key in settled:
            found.append(f"{key} was delivered after it was settled")
        elif what == "settled":
            settled.add(key)
    if history.consumed:
        found += [f"the consumer never got {key}" for key in history.published if key not in settled]
    return found


def _of_results(history: History) -> list[str]:
    times = Counter(key for key, _ in history.found)
    there = dict(history.found)
    found = [f"the acknowledged result {key} is lost" for key in history.stored if key not in there]
    found += [f"result {key} is there {count} times" for key, count in times.items() if count > 1]
    return found + [
        f"result {key} is {there[key]}, and its author was told {result_id}"
        for key, result_id in history.stored.items()
        if there.get(key, result_id) != result_id
    ]


def _of_agents(history: History) -> list[str]:
    found = []
    of_agent = defaultdict(list)
    for run in history.runs:
        of_agent[run.agent_id].append(run)
    for agent_id, runs in of_agent.items():
        runs.sort(key=lambda run: run.first)
        found += [
            f"agent {agent_id} ran twice at once: {before.process} until {before.last}, {after.process} from {after.first}"
            for before, after in pairwise(runs)
            if after.first < before.last
        ]
    return found
