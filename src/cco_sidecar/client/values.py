"""Events, results and circuit breakers as plain Python values. ``message`` is the original protobuf message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.core import codec
from cco_sidecar.core.clock import micros_of
from orchestra.v1 import event_service_pb2 as event_pb
from orchestra.v1 import result_service_pb2 as result_pb

CLOSED, OPEN, TRYING = "closed", "open", "trying"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """An event. ``event_id`` is also the cursor after the event; ``timestamp`` is in UTC."""

    event_id: str
    event_type: str
    topic: str
    publisher: str
    correlation_id: str
    timestamp: datetime
    data: Mapping[str, Any]
    message: event_pb.Event = field(repr=False)

    @classmethod
    def of(cls, message: event_pb.Event) -> Event:
        return cls(
            event_id=message.event_id,
            event_type=message.event_type,
            topic=message.topic,
            publisher=message.publisher,
            correlation_id=message.correlation_id,
            timestamp=time_of(message.timestamp),
            data=codec.struct_to_dict(message.data),
            message=message,
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events.

    Continue at ``next_cursor``, unless it is empty. ``more_available`` is true if more matching events are retained.
    ``missed`` is the number of events that are no longer retained. ``timed_out`` is true if a poll ended without
    events.
    """

    events: Sequence[Event]
    next_cursor: str
    more_available: bool
    missed: int
    timed_out: bool
    message: event_pb.WaitEventsResponse | event_pb.ListEventsResponse = field(repr=False)

    @classmethod
    def of(cls, message: event_pb.WaitEventsResponse | event_pb.ListEventsResponse) -> EventPage:
        waited = message if isinstance(message, event_pb.WaitEventsResponse) else None
        more = waited.more_available if waited is not None else bool(message.next_cursor)
        missed = int(message.gap.missed) if message.HasField("gap") else 0
        timed_out = waited is not None and waited.timeout
        return cls([Event.of(each) for each in message.events], message.next_cursor, more, missed, timed_out, message)


@dataclass(frozen=True, slots=True)
class Result:
    """A stored result. ``result`` is the agent's part of it, as in REST; ``timestamp`` is in UTC."""

    id: str
    agent_id: str
    agent_type: str
    issue_id: str
    project_id: str
    branch: str
    timestamp: datetime
    result: Mapping[str, Any]
    message: result_pb.Result = field(repr=False)

    @classmethod
    def of(cls, message: result_pb.Result) -> Result:
        return cls(
            id=message.id,
            agent_id=message.agent_id,
            agent_type=message.agent_type,
            issue_id=message.issue_id,
            project_id=message.project_id,
            branch=message.branch,
            timestamp=time_of(message.timestamp),
            result=codec.to_dict(message.result),
            message=message,
        )


@dataclass(frozen=True, slots=True)
class ResultPage:
    """A page of results. ``next_cursor`` is empty on the last page."""

    results: Sequence[Result]
    next_cursor: str

    @classmethod
    def of(cls, message: result_pb.ListResultsResponse) -> ResultPage:
        return cls([Result.of(each) for each in message.results], message.next_cursor)


@dataclass(frozen=True, slots=True)
class CircuitState:
    """The state of a circuit breaker. ``since`` is when it was set, ``event_id`` the event that did; "0" if none
    did.

    ``state`` is closed, open, or trying: one agent tries whether it may be closed.
    """

    state: str
    failures: int
    reason: str
    since: datetime
    event_id: str

    @classmethod
    def of(cls, event: Event | None, newest: str) -> CircuitState:
        """``newest``: the id of the topic's newest event, if that is no longer listed. An event that is no state of a
        circuit counts as closed."""
        if event is None:
            return cls(CLOSED, 0, "", _EPOCH, newest)
        data = event.data
        state, failures = data.get("state"), data.get("failures")
        if state not in (CLOSED, OPEN, TRYING) or not isinstance(failures, int | float):
            return cls(CLOSED, 0, "", event.timestamp, event.event_id)
        return cls(state, int(failures), str(data.get("reason", "")), event.timestamp, event.event_id)


def time_of(stamp: Timestamp) -> datetime:
    return _EPOCH + timedelta(microseconds=micros_of(stamp))
