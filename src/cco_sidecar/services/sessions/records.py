"""How the record of a session changes: pure functions of the record and what happened."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.core import announcements
from cco_sidecar.storage.sessions import SessionChange
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_PENDING,
    AGENT_STATUS_STOPPED,
    Agent,
)
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.session_service_pb2 import (
    SESSION_MODE_CALLBACK,
    SESSION_STATUS_FAILED,
    SESSION_STATUS_FINISHED,
    SESSION_STATUS_PENDING,
    SESSION_STATUS_RUNNING,
    SESSION_STATUS_STOPPED,
    Session,
    SessionEvent,
    SessionMode,
)

_STATUS = {
    AGENT_STATUS_COMPLETED: SESSION_STATUS_FINISHED,
    AGENT_STATUS_STOPPED: SESSION_STATUS_STOPPED,
}


def attached(session: Session, *, agent_id: str) -> SessionChange:
    """The session has an agent."""
    session.agent_id = agent_id
    return SessionChange(session)


def begun(session: Session, *, agent: Agent, attempt: int, now: Timestamp) -> SessionChange | None:
    """An attempt is read; None if it was begun before."""
    if session.feed.attempt == attempt and session.status == SESSION_STATUS_RUNNING:
        return None
    if session.feed.attempt != attempt:
        session.feed.attempt, session.feed.events = attempt, 0
    session.status, session.reason = SESSION_STATUS_RUNNING, f"attempt {attempt}"
    session.program_session_id = agent.usage.session_id
    session.modified_at.CopyFrom(now)
    return SessionChange(session, (), _updated)


def continued(session: Session, *, events: Sequence[SessionEvent], count: int, now: Timestamp) -> SessionChange:
    """The program printed more: ``count`` events, of which ``events`` are kept."""
    session.feed.events += count
    session.modified_at.CopyFrom(events[-1].timestamp if events else now)
    return SessionChange(session, events, _each)


def waiting(session: Session, *, agent: Agent) -> SessionChange | None:
    """The agent waits for a slot or for its next attempt; None if that is known."""
    if agent.status != AGENT_STATUS_PENDING or not session.feed.open:
        return None
    if (session.status, session.reason) == (SESSION_STATUS_PENDING, agent.reason):
        return None
    session.status, session.reason = SESSION_STATUS_PENDING, agent.reason
    return SessionChange(session, (), _updated)


def ended(session: Session, *, agent: Agent, now: Timestamp) -> SessionChange | None:
    """The agent has ended; None if that is known."""
    if not session.feed.open:
        return None
    session.status = _STATUS.get(agent.status, SESSION_STATUS_FAILED)
    session.usage.CopyFrom(agent.usage)
    session.program_session_id = agent.usage.session_id
    session.ended_at.CopyFrom(agent.ended_at)
    stop = SessionEvent(event_type="session_stop", reason=agent.reason, timestamp=now)
    if agent.HasField("exit_code"):
        session.exit_code = stop.exit_code = agent.exit_code
    return _closed(session, stop, now)


def never_started(session: Session, *, now: Timestamp) -> SessionChange | None:
    """The sidecar ended before the agent was spawned."""
    session.status = SESSION_STATUS_FAILED
    session.ended_at.CopyFrom(now)
    reason = "the sidecar ended before the agent was started"
    return _closed(session, SessionEvent(event_type="session_stop", reason=reason, timestamp=now), now)


def _closed(session: Session, stop: SessionEvent, now: Timestamp) -> SessionChange:
    session.reason = stop.reason
    session.feed.open = False
    session.feed.callback_due = session.mode == SESSION_MODE_CALLBACK and bool(session.parent_session_id)
    session.modified_at.CopyFrom(now)
    return SessionChange(session, [stop], _each_and_updated)


def reopened(session: Session, *, now: Timestamp, mode: SessionMode) -> SessionChange:
    """The session is resumed. ``mode`` 0 leaves it as it is."""
    session.mode = mode or session.mode
    if session.feed.open:
        # Its agent has begun already.
        return SessionChange(session)
    session.feed.open = True
    session.status, session.reason = SESSION_STATUS_PENDING, "waiting for a free slot"
    session.last_resumed_at.CopyFrom(now)
    session.modified_at.CopyFrom(now)
    session.ClearField("ended_at")
    session.ClearField("exit_code")
    return SessionChange(session, (), _updated)


def reported(session: Session, *, event: SessionEvent, now: Timestamp) -> SessionChange:
    """The program that runs an external session adds an event."""
    session.modified_at.CopyFrom(now)
    before = session.status
    if event.event_type == "session_stop":
        failed = event.HasField("exit_code") and event.exit_code != 0
        session.status = SESSION_STATUS_FAILED if failed else SESSION_STATUS_FINISHED
        session.reason = event.reason
        session.feed.open = False
        session.ended_at.CopyFrom(event.timestamp)
        if event.HasField("exit_code"):
            session.exit_code = event.exit_code
    elif not session.feed.open:
        # Its program goes on, whether or not it says so.
        session.feed.open = True
        session.status, session.reason = SESSION_STATUS_RUNNING, event.reason
        session.last_resumed_at.CopyFrom(event.timestamp)
        session.ClearField("ended_at")
        session.ClearField("exit_code")
    return SessionChange(session, [event], _each_and_updated if session.status != before else _each)


def silent(session: Session, *, now: Timestamp, seconds: int) -> SessionChange | None:
    """An external session has had no event for too long; None if it had one, or has ended."""
    if not session.feed.open or now.ToMicroseconds() - session.modified_at.ToMicroseconds() < seconds * 1_000_000:
        return None
    session.status = SESSION_STATUS_FAILED
    session.ended_at.CopyFrom(now)
    reason = f"no event for {seconds} seconds: its program has ended, or hangs"
    return _closed(session, SessionEvent(event_type="session_stop", reason=reason, timestamp=now), now)


def _updated(session: Session, _: Sequence[SessionEvent]) -> list[Event]:
    return [announcements.of_session(session, "session_updated")]


def _each(session: Session, events: Sequence[SessionEvent]) -> list[Event]:
    return [announcements.of_session_event(session, event) for event in events]


def _each_and_updated(session: Session, events: Sequence[SessionEvent]) -> list[Event]:
    return [*_each(session, events), *_updated(session, events)]
