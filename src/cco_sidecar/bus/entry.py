"""An event as the bus carries it: the envelope and the serialised bytes."""

from __future__ import annotations

from collections import deque
from typing import Any

from cco_sidecar.core import codec
from cco_sidecar.core.encoded import framed
from orchestra.v1.event_service_pb2 import Event

_LARGE_BYTES = 16 * 1024


class Entry:
    """A stored event. ``message`` is the parsed event while it is at hand; otherwise the bytes are parsed again.

    ``frame`` is the event serialised as field 1, which is the same in SubscribeResponse, WaitEventsResponse and
    ListEventsResponse.
    """

    __slots__ = (
        "_fields",
        "arrived",
        "committed_at",
        "correlation_id",
        "event_id",
        "event_type",
        "expires",
        "frame",
        "message",
        "payload_at",
        "publisher",
        "seq",
        "state_key",
        "topic",
    )

    def __init__(self, seq: int, event: Event, payload: bytes, micros: int, ttl: int) -> None:
        """``payload`` is the serialised event, ``micros`` steady-clock time, which determines its age."""
        self.seq = seq
        self.event_type = event.event_type
        self.topic = event.topic
        self.event_id = event.event_id
        self.publisher = event.publisher
        self.correlation_id = event.correlation_id
        self.state_key = event.state_key
        self.arrived = micros
        self.expires = micros + ttl * 1_000_000
        self.frame = framed(1, payload)
        self.payload_at = len(self.frame) - len(payload)
        self.committed_at = 0.0
        self.message: Event | None = None
        self._fields: dict[str, Any] | None = None

    @property
    def event(self) -> Event:
        return self.message or Event.FromString(self.frame[self.payload_at :])

    def text(self, name: str) -> str | None:
        """Returns ``data[name]`` if it is a string. Parses the event, at a twentieth of the cost of ``fields``."""
        return text_of(self.event, name)

    @property
    def fields(self) -> dict[str, Any]:
        """The envelope and ``data`` as JSON values, for filters.

        The values are parsed once and kept. For large events only the most recent few are kept, because the values
        take ten times the space of the bytes.
        """
        if self._fields is None:
            self._fields = codec.to_dict(self.event)
            if len(self.frame) > _LARGE_BYTES:
                if len(_large) == _large.maxlen:
                    _large[0]._fields = None
                _large.append(self)
        return self._fields


def identified(payload: bytes, event_id: str) -> bytes:
    """Returns a serialised event with its id. In protobuf the last value of a field wins, so appending sets it."""
    return payload + framed(Event.EVENT_ID_FIELD_NUMBER, event_id.encode())


# The large entries whose parsed values are kept, oldest first.
_large: deque[Entry] = deque(maxlen=32)


def text_of(event: Event, name: str) -> str | None:
    """Returns ``data[name]`` if it is a string, otherwise None."""
    fields = event.data.fields
    return fields[name].string_value if name in fields and fields[name].HasField("string_value") else None
