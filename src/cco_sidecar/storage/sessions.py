"""The interface of the store of sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from cco_sidecar.storage.event_stores import Announcement
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.session_service_pb2 import Session, SessionEvent


class StoredSession(NamedTuple):
    """``number`` grows with every session."""

    number: int
    session: Session


class SessionChange(NamedTuple):
    """What a session is changed to: its record, its next events, which get their numbers when they are stored, and what
    announces the change. ``announce`` is called with the numbered events."""

    session: Session
    events: Sequence[SessionEvent] = ()
    announce: Callable[[Session, Sequence[SessionEvent]], Sequence[Event]] = lambda _session, _events: ()


class ChangedSession(NamedTuple):
    session: Session
    events: Sequence[SessionEvent]
    announcements: Sequence[Announcement]


class SessionStore(Protocol):
    """Sessions and their events. A write is on disk when it returns."""

    async def add(self, change: SessionChange) -> ChangedSession | None:
        """Stores a new session; None if its id, or its name in its project, is taken."""
        ...

    async def find(self, project: str, id_or_name: str) -> Session | None:
        """Returns the session of that id, or else of that name."""
        ...

    async def by_id(self, session_id: str) -> Session | None: ...

    async def by_agent(self, agent_id: str) -> Session | None: ...

    async def change(self, session_id: str, make: Callable[[Session], SessionChange | None]) -> ChangedSession | None:
        """Replaces a session by what ``make`` returns for it, while nobody else changes it.

        Returns None if there is no such session, or if ``make`` returns None. ``make`` may be called twice, and may
        raise SidecarError. Raises SidecarError (SES_002) if the new name is taken.
        """
        ...

    async def delete(self, session_id: str, announce: Callable[[Session], Event]) -> Announcement | None:
        """Deletes a session with its events."""
        ...

    async def page(
        self, project: str, *, status: int = 0, parent: str = "", before: int | None = None, limit: int = 100
    ) -> Sequence[StoredSession]:
        """Returns sessions, newest first. Stops at ``PAGE_BYTES`` of them, but returns at least one if there is any."""
        ...

    async def open(self) -> Sequence[Session]:
        """Returns the sessions of all projects that have not ended, or whose end is not yet told, oldest first."""
        ...

    async def due(self, parent_id: str) -> Sequence[Session]:
        """Returns the sessions whose ends are still to be told to this parent, oldest first."""
        ...

    async def events(self, session_id: str, *, after: int = 0, limit: int = 100) -> Sequence[SessionEvent]:
        """Returns events, oldest first. Stops at ``PAGE_BYTES`` of them, but returns at least one if there is any."""
        ...

    async def last_message(self, session_id: str) -> SessionEvent | None:
        """Returns the newest message of the assistant since the session was last started or resumed, but for those of
        sub-agents."""
        ...

    async def stored_bytes(self, project: str) -> int:
        """Returns the size of all events of a project."""
        ...
