"""The newest events of one project in memory, serialised once and found by cursor."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple

from cco_sidecar.bus.base import FROM_OLDEST, Position
from cco_sidecar.bus.entry import Entry, identified
from cco_sidecar.core.errors import invalid_event
from cco_sidecar.storage.eventlog.base import EventRecord, OpenedLog
from orchestra.v1.event_service_pb2 import Event

_CURSOR = re.compile(r"evt-([0-9a-f]{8})-([0-9]{10,20})")

# Smaller differences between the clocks do not matter.
_DRIFT_MICROS = 1_000_000
_FAR = 2**63


def is_event_id(text: str) -> bool:
    """Reports whether a text has the form of an event id, which is also a cursor."""
    return _CURSOR.fullmatch(text) is not None


class Limits(NamedTuple):
    """What is kept of a project: ``events``, and ``bytes`` of them, for ``micros``; ``memory`` bytes are in memory."""

    events: int
    bytes: int
    micros: int
    memory: int


class Journal:
    """Entries in order of ``seq``, bounded by age, count and bytes.

    ``trimmed`` is the sequence number of the newest entry that is no longer retained, ``floor`` that of the newest that
    is not in memory.
    """

    def __init__(self, epoch: str, limits: Limits) -> None:
        self.epoch = epoch
        self.head = 0
        self.trimmed = 0
        self.floor = 0
        self._limits = limits
        self._entries: list[Entry] = []
        self._seqs: list[int] = []
        self._micros: list[int] = []
        self._bytes = 0
        # By topic; some of their events may no longer be retained.
        self._newest: dict[str, int] = {}
        # By how many microseconds the steady clock was ahead of the wall clock, each from an event on.
        self._ahead: list[tuple[int, int]] = [(0, 0)]

    @classmethod
    def restored(cls, opened: OpenedLog, limits: Limits) -> Journal:
        """A journal with what was read when the log was opened."""
        journal = cls(opened.epoch, limits)
        for record in opened.records:
            journal.add(journal.entry(record), record.micros)
        journal.trimmed = opened.trimmed
        journal.floor = opened.records[0].seq - 1 if opened.records else opened.trimmed
        journal.head = max(journal.head, opened.head)
        return journal

    @classmethod
    def at(cls, epoch: str, limits: Limits, *, head: int, trimmed: int) -> Journal:
        """A journal with nothing in memory yet."""
        journal = cls(epoch, limits)
        journal.head = journal.floor = head
        journal.trimmed = trimmed
        return journal

    def lose(self, upto: int) -> None:
        """Takes note that everything up to a number is gone, also what was to come."""
        self._drop(len(self._entries))
        self.head = max(self.head, upto)
        self.trimmed = self.floor = upto

    def overflows(self, stride: int) -> bool:
        """Reports whether there are ``stride`` events over the limit, or too many bytes in memory."""
        return len(self._entries) >= self._limits.events + stride or self._bytes > self._limits.memory

    def add(self, entry: Entry, micros: int) -> None:
        """Appends an entry. ``micros`` is its timestamp."""
        self._entries.append(entry)
        self._seqs.append(entry.seq)
        self._micros.append(micros)
        self._bytes += len(entry.frame)
        self.head = max(self.head, entry.seq)
        self._newest[entry.topic] = entry.seq
        ahead = entry.arrived - micros
        if abs(ahead - self._ahead[-1][1]) > _DRIFT_MICROS:
            self._ahead.append((entry.seq, ahead))

    def entry(self, record: EventRecord) -> Entry:
        """Returns the entry of a record that was read from the log."""
        event = Event.FromString(record.payload)
        event.event_id = self.cursor(record.seq)
        payload = identified(record.payload, event.event_id)
        return Entry(record.seq, event, payload, self._arrived(record.seq, record.micros), record.ttl)

    def _arrived(self, seq: int, micros: int) -> int:
        """Returns the steady-clock time of an event: its age must not depend on a wall clock that was wrong for a
        while."""
        return micros + self._ahead[bisect_right(self._ahead, (seq, _FAR)) - 1][1]

    def remember(self, entry: Entry) -> None:
        """Takes note of an older event of its topic."""
        self._newest[entry.topic] = max(entry.seq, self._newest.get(entry.topic, 0))

    def trim(self, now_micros: int, droppable: Callable[[int, Callable[[int, int], bool], int], int]) -> bool:
        """Drops entries over the limits, and moves others out of memory; ``now_micros`` is steady-clock time.

        ``droppable`` is that of the log. Returns whether anything changed.
        """
        limits, before = self._limits, (self.trimmed, self.floor)
        oldest = now_micros - limits.micros
        if self.trimmed < self.floor:

            def expired(seq: int, micros: int) -> bool:
                return self._arrived(seq, micros) < oldest

            upto = droppable(self.head - limits.events, expired, limits.bytes)
            self.trimmed = max(self.trimmed, min(self.floor, upto))
            enough = len(self._entries) >= limits.events or self._bytes >= limits.bytes
            if enough or (self._entries and self._entries[-1].arrived < oldest):
                self.trimmed = self.floor
        if self.trimmed == self.floor:
            drop = max(0, len(self._entries) - limits.events, self._over(limits.bytes))
            while drop < len(self._entries) and self._entries[drop].arrived < oldest:
                drop += 1
            self._drop(drop)
            self.trimmed = self.floor
        self._drop(self._over(limits.memory))
        if len(self._newest) > len(self._entries):
            self._newest = {topic: seq for topic, seq in self._newest.items() if seq > self.trimmed}
        return (self.trimmed, self.floor) != before

    def _over(self, most: int) -> int:
        """Returns how many of the oldest entries are over a limit in bytes."""
        excess = self._bytes - most
        if excess > 0:
            # A little more, so that the next event does not trim again.
            excess += most // 16
        drop = 0
        while excess > 0 and drop < len(self._entries) - 1:
            excess -= len(self._entries[drop].frame)
            drop += 1
        return drop

    def _drop(self, count: int) -> None:
        if not count:
            return
        self.floor = self._seqs[count - 1]
        self._bytes -= sum(len(entry.frame) for entry in self._entries[:count])
        del self._entries[:count], self._seqs[:count], self._micros[:count]

    def newest_of(self, topic: str) -> str:
        """Returns the id of a topic's newest retained event; FROM_OLDEST if there is none."""
        seq = self._newest.get(topic, 0)
        return self.cursor(seq) if seq > self.trimmed else FROM_OLDEST

    def cursor(self, seq: int) -> str:
        """Returns the cursor just after an event, which is also the event's id."""
        return f"evt-{self.epoch}-{seq:010d}"

    def position(self, since: str) -> Position:
        """Returns where to resume after a cursor. Raises SidecarError (EVT_002) for an invalid one."""
        if since == FROM_OLDEST:
            return Position(self.trimmed)
        epoch, seq = self.parsed(since, "since")
        if epoch != self.epoch:
            # The log was recreated (the storage was emptied): every retained event is new to the reader.
            return Position(self.trimmed, gap=True)
        if seq < self.trimmed:
            return Position(self.trimmed, gap=True, missed=self.trimmed - seq)
        return Position(min(seq, self.head))

    def parsed(self, text: str, field: str) -> tuple[str, int]:
        """Returns the epoch and the sequence number of an event id. Raises SidecarError (EVT_002) if it is not one."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise invalid_event(
                f"{field}: {text[:80]!r} is not an event id or a cursor such as {self.cursor(1)}", field=field
            )
        return match.group(1), int(match.group(2))

    def begins_before(self, micros: int) -> bool:
        """Reports whether an event in memory is older than a time."""
        return bool(self._micros) and self._micros[0] < micros

    def position_at(self, micros: int) -> Position:
        """Returns where to start reading for events at or after a time, if that is in memory."""
        for index, at in enumerate(self._micros):
            if at >= micros:
                return Position(self._seqs[index] - 1)
        return Position(self.head)

    def after(self, seq: int, count: int) -> list[Entry]:
        """Returns up to ``count`` entries in memory after ``seq``."""
        low = bisect_right(self._seqs, seq)
        return self._entries[low : low + count]

    def before(self, seq: int, count: int) -> list[Entry]:
        """Returns up to ``count`` entries in memory before a sequence number, newest first."""
        high = bisect_left(self._seqs, seq)
        return self._entries[max(0, high - count) : high][::-1]
