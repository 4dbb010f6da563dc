"""An event as the bus carries it: the envelope, and its bytes."""

from __future__ import annotations

from collections import deque
from typing import Any

from cco_sidecar.core import codec
from cco_sidecar.core.encoded import framed
from orchestra.v1.event_service_pb2 import Event

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
