"""Groups: one for each distinct subscription, shared by its readers."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cco_sidecar.bus import filter as filters
from cco_sidecar.bus.journal import Entry
from cco_sidecar.core.encoded import Encoded


@dataclass(frozen=True, slots=True)
class Interest:
    """What a subscription asks for. Empty sets stand for everything."""

    event_types: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    filter: str = ""

    def routes(self, topic: str, event_type: str) -> bool:
        return (not self.topics or topic in self.topics) and (not self.event_types or event_type in self.event_types)


class Slice(NamedTuple):
    """A run of events that a reader gets at once; ``upto`` is where its cursor then stands; ``wire`` the bytes
    that readers at the same place share."""

    entries: tuple[Entry, ...]
    upto: int
    more: bool = False
    wire: Encoded | None = None
    # When the first of them is no longer to be delivered, in microseconds since 1970 UTC.
    expires: int = 2**63


class Group:
    """Matching entries since ``start``; readers hold a position of their own, the bytes are shared."""

    __slots__ = (
        "batches",
        "entries",
        "filter",
        "idle_since",
        "interest",
        "limit",
        "readers",
        "seqs",
        "start",
        "trimmed",
        "waiters",
    )

    def __init__(self, interest: Interest, head: int) -> None:
        self.interest = interest
        self.filter = filters.parse(interest.filter) if interest.filter else None
        self.start = head
        self.limit = head
        self.trimmed = head
        self.entries: list[Entry] = []
        self.seqs: list[int] = []
        self.readers: dict[object, str] = {}
        self.waiters: list[asyncio.Future[None]] = []
        self.batches: dict[tuple[int, int, int], Slice] = {}
        self.idle_since = 0.0

    def wants(self, entry: Entry) -> bool:
        return self.interest.routes(entry.topic, entry.event_type) and self.passes(entry)

    def passes(self, entry: Entry) -> bool:
        return self.filter is None or self.filter.matches(entry.fields)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.seqs.append(entry.seq)

    def trim(self, upto: int) -> None:
        drop = bisect_right(self.seqs, upto)
        if drop:
            self.trimmed = self.seqs[drop - 1]
            del self.entries[:drop], self.seqs[:drop]
        self.batches.clear()

    def after(self, seq: int) -> list[Entry]:
        return self.entries[bisect_right(self.seqs, seq) : bisect_right(self.seqs, self.limit)]


@dataclass(slots=True)
class Route:
    """The groups that a (topic, type) can reach; those whose filter demands ``field:text`` are indexed."""

    open: list[Group] = field(default_factory=list)
    keyed: dict[str, dict[str, list[Group]]] = field(default_factory=dict)

    @classmethod
    def build(cls, groups: Iterable[Group], topic: str, event_type: str) -> Route:
        route = cls()
        for group in groups:
            if not group.interest.routes(topic, event_type):
                continue
            key = group.filter.key if group.filter is not None else None
            if key is None:
                route.open.append(group)
            else:
                for text in key[1]:
                    route.keyed.setdefault(key[0], {}).setdefault(text, []).append(group)
        return route

    def groups(self, entry: Entry) -> list[Group]:
        found = [group for group in self.open if group.passes(entry)]
        for name, by_text in self.keyed.items():
            for text in filters.index_keys(filters.look_up(entry.fields, name)):
                found += [g for g in by_text.get(text, ()) if g not in found and g.passes(entry)]
        return found
