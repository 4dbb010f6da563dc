"""One project's events in memory: the newest, serialised once, found by cursor."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from cco_sidecar.core import codec
from cco_sidecar.core.clock import micros_of
from cco_sidecar.core.encoded import framed
from cco_sidecar.core.errors import invalid_event
from cco_sidecar.storage.eventlog import Record
from orchestra.v1.event_service_pb2 import Event

_CURSOR = re.compile(r"evt-([0-9a-f]{8})-([0-9]{10,20})")
FROM_OLDEST = "0"


_LARGE_BYTES = 16 * 1024


class Entry:
    """An event. ``frame`` is its bytes as field 1 of SubscribeResponse, WaitEventsResponse and
    ListEventsResponse alike."""

    __slots__ = (
        "_fields",
        "committed_at",
        "correlation_id",
        "event_id",
        "event_type",
        "expires",
        "frame",
        "payload_at",
        "publisher",
        "seq",
        "topic",
    )

    def __init__(self, seq: int, event: Event, payload: bytes, micros: int, ttl: int) -> None:
        self.seq = seq
        self.event_type = event.event_type
        self.topic = event.topic
        self.event_id = event.event_id
        self.publisher = event.publisher
        self.correlation_id = event.correlation_id
        self.expires = micros + ttl * 1_000_000
        self.frame = framed(1, payload)
        self.payload_at = len(self.frame) - len(payload)
        self.committed_at = 0.0
        self._fields: dict[str, Any] | None = None

    @property
    def event(self) -> Event:
        return Event.FromString(self.frame[self.payload_at :])

    def text(self, name: str) -> str | None:
        """``data[name]``, when it is a text. Parses the event, which costs a twentieth of what ``fields`` does."""
        return text_of(self.event, name)

    @property
    def fields(self) -> dict[str, Any]:
        """The envelope and ``data`` as JSON values: what a filter reads. Parsed once, and kept; of large
        events only of the last few, because the values take ten times the bytes."""
        if self._fields is None:
            self._fields = codec.to_dict(self.event)
            if len(self.frame) > _LARGE_BYTES:
                if len(_large) == _large.maxlen:
                    _large[0]._fields = None
                _large.append(self)
        return self._fields


# Large entries whose values are kept, the oldest first.
_large: deque[Entry] = deque(maxlen=32)


def text_of(event: Event, name: str) -> str | None:
    """``data[name]``, when it is a text."""
    fields = event.data.fields
    return fields[name].string_value if name in fields and fields[name].HasField("string_value") else None


class Position(NamedTuple):
    """Where a reader starts: after ``seq``; ``missed`` events of an unknown or trimmed past when ``gap``."""

    seq: int
    gap: bool = False
    missed: int = 0


class Journal:
    """Entries in order of ``seq``. What is older than the retention is trimmed; ``trimmed`` is the newest such."""

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

    def __len__(self) -> int:
        return len(self._entries)

    def overflows(self, stride: int) -> bool:
        """True when so many events too many are held, or too many bytes."""
        return len(self._entries) >= self._max_events + stride or self._bytes > self._max_bytes

    def add(self, entry: Entry, micros: int, arrived: int) -> None:
        """``micros``: its timestamp; ``arrived``: the same by the steady clock, for its age."""
        self._entries.append(entry)
        self._seqs.append(entry.seq)
        self._micros.append(micros)
        self._arrived.append(arrived)
        self._bytes += len(entry.frame)
        self.head = max(self.head, entry.seq)

    def restore(self, record: Record) -> None:
        """Adds a record read back from disk; what came before the first is no longer retained."""
        if not self._entries:
            self.trimmed = record.seq - 1
        event = Event.FromString(record.payload)
        entry = Entry(record.seq, event, record.payload, record.micros, record.ttl)
        self.add(entry, micros_of(event.timestamp), record.micros)

    def trim(self, now_micros: int) -> bool:
        """``now_micros``: of the steady clock. Drops what is past the retention; true when anything was."""
        drop = max(0, len(self._entries) - self._max_events)
        excess = self._bytes - sum(len(e.frame) for e in self._entries[:drop]) - self._max_bytes
        if excess > 0:
            # A little more, so that the next event does not trim again.
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
        return True

    def cursor(self, seq: int) -> str:
        """An event's id is the cursor that points behind it."""
        return f"evt-{self.epoch}-{seq:010d}"

    def position(self, since: str) -> Position:
        """Where to read on after a cursor. Raises SidecarError (EVT_002) for what is none."""
        if since == FROM_OLDEST:
            return Position(self.trimmed)
        match = _CURSOR.fullmatch(since)
        if match is None:
            raise invalid_event(
                f"since: {since[:80]!r} is not an event id or a cursor such as {self.cursor(1)}",
                field="since",
            )
        epoch, seq = match.group(1), int(match.group(2))
        if epoch != self.epoch:
            # Another life of this log (storage was emptied): all that is retained is new to the reader.
            return Position(self.trimmed, gap=True)
        if seq < self.trimmed:
            return Position(self.trimmed, gap=True, missed=self.trimmed - seq)
        return Position(min(seq, self.head))

    def position_at(self, micros: int) -> Position:
        """Where to read on for events at or after a time."""
        for index, at in enumerate(self._micros):
            if at >= micros:
                return Position(self._seqs[index] - 1)
        return Position(self.head)

    def after(self, seq: int, upto: int) -> list[Entry]:
        """Entries with ``seq`` < their seq <= ``upto``."""
        low, high = bisect_right(self._seqs, seq), bisect_right(self._seqs, upto)
        return self._entries[low:high]

    def newest_first(self) -> Iterator[Entry]:
        return reversed(self._entries)

    def before(self, seq: int, count: int) -> list[Entry]:
        """Up to ``count`` entries in front of a sequence number, newest first."""
        high = bisect_left(self._seqs, seq)
        return self._entries[max(0, high - count) : high][::-1]
