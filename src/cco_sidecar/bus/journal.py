"""The retained events of one project in memory, serialised once and found by cursor."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from cco_sidecar.bus.base import FROM_OLDEST, Position
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.clock import micros_of
from cco_sidecar.core.errors import invalid_event
from cco_sidecar.storage.eventlog.base import EventRecord
from orchestra.v1.event_service_pb2 import Event

_CURSOR = re.compile(r"evt-([0-9a-f]{8})-([0-9]{10,20})")


def is_event_id(text: str) -> bool:
    """Reports whether a text has the form of an event id, which is also a cursor."""
    return _CURSOR.fullmatch(text) is not None


class Journal:
    """Entries in order of ``seq``, bounded by age, count and bytes.

    ``trimmed`` is the sequence number of the newest entry that is no longer retained.
    """

    def __init__(self, epoch: str, max_events: int, max_bytes: int, retention_micros: int) -> None:
        self.epoch = epoch
        self.head = 0
        self.trimmed = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._retention = retention_micros
        self._entries: list[Entry] = []
        self._seqs: list[int] = []
        self._micros: list[int] = []
        self._arrived: list[int] = []
        self._bytes = 0
        # By topic; some of their events may no longer be retained.
        self._newest: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def overflows(self, stride: int) -> bool:
        """Reports whether there are ``stride`` events over the limit, or too many bytes."""
        return len(self._entries) >= self._max_events + stride or self._bytes > self._max_bytes

    def add(self, entry: Entry, micros: int, arrived: int) -> None:
        """Appends an entry. ``micros`` is its timestamp; ``arrived`` is steady-clock time and determines its age."""
        self._entries.append(entry)
        self._seqs.append(entry.seq)
        self._micros.append(micros)
        self._arrived.append(arrived)
        self._bytes += len(entry.frame)
        self.head = max(self.head, entry.seq)
        self._newest[entry.topic] = entry.seq

    def restore(self, record: EventRecord) -> Event:
        """Appends a record read from the log. Everything before the first record counts as trimmed."""
        if not self._entries:
            self.trimmed = record.seq - 1
        event = Event.FromString(record.payload)
        event.event_id = self.cursor(record.seq)
        entry = Entry(record.seq, event, event.SerializeToString(), record.micros, record.ttl)
        self.add(entry, micros_of(event.timestamp), record.micros)
        return event

    def trim(self, now_micros: int) -> bool:
        """Drops entries over the limits; ``now_micros`` is steady-clock time. Returns whether any were dropped."""
        drop = max(0, len(self._entries) - self._max_events)
        excess = self._bytes - sum(len(e.frame) for e in self._entries[:drop]) - self._max_bytes
        if excess > 0:
            # Free a little more, so that the next event does not trim again.
            excess += self._max_bytes // 16
        while excess > 0 and drop < len(self._entries) - 1:
            excess -= len(self._entries[drop].frame)
            drop += 1
        oldest = now_micros - self._retention
        while drop < len(self._entries) and self._arrived[drop] < oldest:
            drop += 1
        if not drop:
            return False
        self._bytes -= sum(len(entry.frame) for entry in self._entries[:drop])
        self.trimmed = self._seqs[drop - 1]
        del self._entries[:drop], self._seqs[:drop], self._micros[:drop], self._arrived[:drop]
        if len(self._newest) > len(self._entries):
            self._newest = {topic: seq for topic, seq in self._newest.items() if seq > self.trimmed}
        return True

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

    def position_at(self, micros: int) -> Position:
        """Returns where to start reading for events at or after a time."""
        for index, at in enumerate(self._micros):
            if at >= micros:
                return Position(self._seqs[index] - 1)
        return Position(self.head)

    def after(self, seq: int, upto: int) -> list[Entry]:
        """Returns the entries after ``seq``, up to and including ``upto``."""
        low, high = bisect_right(self._seqs, seq), bisect_right(self._seqs, upto)
        return self._entries[low:high]

    def newest_first(self) -> Iterator[Entry]:
        return reversed(self._entries)

    def before(self, seq: int, count: int) -> list[Entry]:
        """Returns up to ``count`` entries before a sequence number, newest first."""
        high = bisect_left(self._seqs, seq)
        return self._entries[max(0, high - count) : high][::-1]
