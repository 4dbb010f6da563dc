"""Subscriptions: one per distinct key, shared by its readers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cco_sidecar.bus import filters
from cco_sidecar.bus.base import Batch, SubscriptionKey
from cco_sidecar.bus.entry import Entry


class Slice(NamedTuple):
    """A run of events that a reader gets at once.

    ``upto`` is the reader's position afterwards. ``batch`` is shared by readers at the same position.
    """

    entries: tuple[Entry, ...]
    upto: int
    more: bool = False
    batch: Batch | None = None
    # When the first of the entries expires, in microseconds of Clock.steady_micros.
    expires: int = 2**63


class Subscription:
    """The matching entries after ``start``, which are in memory. Each reader has its own position; the bytes are
    shared."""

    __slots__ = (
        "_names",
        "_readers",
        "batches",
        "entries",
        "filter",
        "idle_since",
        "key",
        "limit",
        "seqs",
        "start",
        "waiters",
    )

    def __init__(self, key: SubscriptionKey, head: int) -> None:
        self.key = key
        self.filter = filters.parse(key.filter) if key.filter else None
        self.start = head
        self.limit = head
        self.entries: list[Entry] = []
        self.seqs: list[int] = []
        # Of Reader; the name of each.
        self._readers: dict[Any, str] = {}
        self._names: list[str] | None = None
        # Those that wait, in the order in which they began to.
        self.waiters: dict[Any, None] = {}
        self.batches: dict[tuple[int, int, int], Slice] = {}
        self.idle_since = 0.0

    @property
    def readers(self) -> Mapping[Any, str]:
        return self._readers

    @property
    def names(self) -> list[str]:
        """The names of its readers, sorted, each once."""
        if self._names is None:
            self._names = sorted(set(self._readers.values()))
        return self._names

    def join(self, reader: Any, name: str) -> None:
        self._readers[reader] = name
        self._names = None

    def leave(self, reader: Any) -> str:
        """Returns the reader's name."""
        self._names = None
        return self._readers.pop(reader)

    def wants(self, entry: Entry) -> bool:
        return self.key.accepts(entry.topic, entry.event_type) and self.passes(entry)

    def passes(self, entry: Entry) -> bool:
        return self.filter is None or self.filter.matches(entry.fields)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.seqs.append(entry.seq)

    def forget(self, upto: int) -> None:
        """Drops entries that are no longer in memory. A reader that has not read them finds them in the past."""
        drop = bisect_right(self.seqs, upto)
        if drop:
            self.start = self.seqs[drop - 1]
            del self.entries[:drop], self.seqs[:drop]
        self.batches.clear()

    def lose(self, upto: int) -> None:
        """Takes note that everything up to a number is gone, also what never came. Its readers are told of the gap."""
        self.entries.clear()
        self.seqs.clear()
        self.batches.clear()
        self.start = self.limit = max(self.start, upto)

    def after(self, seq: int) -> list[Entry]:
        return self.entries[bisect_right(self.seqs, seq) : bisect_right(self.seqs, self.limit)]


@dataclass(slots=True)
class SubscriptionIndex:
    """The subscriptions that events of a (topic, type) can match, indexed where the filter requires ``field:text``."""

    open: list[Subscription] = field(default_factory=list)
    keyed: dict[str, dict[str, list[Subscription]]] = field(default_factory=dict)

    @classmethod
    def build(cls, subscriptions: Iterable[Subscription], topic: str, event_type: str) -> SubscriptionIndex:
        index = cls()
        for subscription in subscriptions:
            if not subscription.key.accepts(topic, event_type):
                continue
            key = subscription.filter.key if subscription.filter is not None else None
            if key is None:
                index.open.append(subscription)
            else:
                for text in key[1]:
                    index.keyed.setdefault(key[0], {}).setdefault(text, []).append(subscription)
        return index

    def subscriptions(self, entry: Entry) -> list[Subscription]:
        found = [subscription for subscription in self.open if subscription.passes(entry)]
        for name, by_text in self.keyed.items():
            for text in filters.index_keys(filters.look_up(entry.fields, name)):
                found += [g for g in by_text.get(text, ()) if g not in found and g.passes(entry)]
        return found
