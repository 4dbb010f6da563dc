"""An event as a message: the payload is the serialised Event without id and time, which the stream assigns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.message import DecodeError

from cco_sidecar.core.clock import timestamp
from cco_sidecar.storage.eventlog.base import EventRecord
from orchestra.v1.event_service_pb2 import Event

# The call that sent it, so that a sidecar knows its own messages.
CALL = "Cco-Call"
TTL = "Cco-Ttl"
# A message is stored once in the duplicate window of the stream.
MESSAGE_ID = "Nats-Msg-Id"
# Of an event that was copied from elsewhere: when it happened, in microseconds since 1970 UTC.
TIME = "Cco-Time"
EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
BATCH_ID = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"

_DAY_SECONDS = 86_400
_FOREIGN = Event(event_type="foreign_message", topic="nats", publisher="nats").SerializeToString()


def payload_of(event: Event) -> bytes:
    event.ClearField("event_id")
    event.ClearField("timestamp")
    return event.SerializeToString()


def record_of(project: str, seq: int, micros: int, headers: Mapping[str, str] | None, payload: bytes) -> EventRecord:
    """Returns the record of a message. ``micros``: when the stream stored it. What another program has published is an
    event too, so that numbers have no holes."""
    if not is_event(payload):
        payload = _FOREIGN
    micros = time_of(headers) or micros
    stamped = payload + Event(timestamp=timestamp(micros)).SerializeToString()
    return EventRecord(project, seq, micros, ttl_of(headers), stamped)


def is_event(payload: bytes) -> bool:
    """Reports whether a payload can be read; another program may have published to the subject."""
    try:
        return bool(Event.FromString(payload).event_type)
    except DecodeError:
        return False


def time_of(headers: Mapping[str, str] | None) -> int:
    """Returns when an event happened that was copied from elsewhere; 0 for any other."""
    text = (headers or {}).get(TIME, "")
    return int(text) if text.isdecimal() else 0


def ttl_of(headers: Mapping[str, str] | None) -> int:
    text = (headers or {}).get(TTL, "")
    return int(text) if text.isdecimal() else _DAY_SECONDS


def micros_of(stamp: str) -> int:
    """Converts a time of RFC 3339 with up to nine digits behind the point."""
    whole, _, rest = stamp.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * 1_000_000 + int((rest[:6]).ljust(6, "0"))
