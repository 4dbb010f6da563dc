"""The tables of sessions and their events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from cco_sidecar.core.errors import OutcomeUnknown, conflict
from cco_sidecar.storage.base import PAGE_BYTES
from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sessions import ChangedSession, SessionChange, StoredSession
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.pages import up_to
from cco_sidecar.storage.sql.schema import session_events, sessions
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.session_service_pb2 import Session, SessionEvent

_ANSWER = "message:assistant"


class SqlSessions:
    """Implements SessionStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Of each project: the size of its events. Forgotten when they become fewer, or it is not known.
        self._bytes: dict[str, int] = {}

    async def add(self, change: SessionChange) -> ChangedSession | None:
        session = change.session
        row = _columns(session) | {"session_id": session.session_id, "project_id": session.project_id}

        # An id or name finds one session only.
        columns = sessions.c
        same = sa.or_(columns.name == session.session_id, columns.session_id == session.name)
        mistaken = sa.select(columns.number).where(columns.project_id == session.project_id, same)

        def work(connection: sa.Connection) -> ChangedSession | None:
            self._database.lock(connection, f"sessions {session.project_id}")
            if connection.execute(mistaken).first():
                return None
            insert = self._database.insert(sessions).values(row).on_conflict_do_nothing()
            if not connection.execute(insert.returning(sessions.c.number)).first():
                return None
            # A copy: it may be done again after it was rolled back.
            added = Session()
            added.CopyFrom(session)
            return _apply(connection, change._replace(session=added))

        return await self._database.write(work)

    async def find(self, project: str, id_or_name: str) -> Session | None:
        columns = sessions.c
        query = whole(sessions).where(
            columns.project_id == project, sa.or_(columns.session_id == id_or_name, columns.name == id_or_name)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        found = [Session.FromString(row.body) for row in rows]
        return next((each for each in found if each.session_id == id_or_name), next(iter(found), None))

    async def by_id(self, session_id: str) -> Session | None:
        return await self._one(sessions.c.session_id == session_id)

    async def by_agent(self, agent_id: str) -> Session | None:
        return await self._one(sessions.c.agent_id == agent_id)

    async def change(self, session_id: str, make: Callable[[Session], SessionChange | None]) -> ChangedSession | None:
        query = whole(sessions).where(sessions.c.session_id == session_id)

        def work(connection: sa.Connection) -> ChangedSession | None:
            row = connection.execute(query.with_for_update() if self._database.shared else query).one_or_none()
            if row is None:
                return None
            before = Session.FromString(row.body)
            name = before.name
            change = make(before)
            if change is None:
                return None
            if change.session.name != name:
                self._database.lock(connection, f"sessions {change.session.project_id}")
            if change.session.name != name and _is_taken(connection, change.session):
                raise conflict("SES_002", f"there is already a session '{change.session.name}'")
            return _apply(connection, change)

        try:
            changed = await self._database.write(work)
        except OutcomeUnknown:
            self._bytes.clear()
            raise
        if changed is not None and changed.session.project_id in self._bytes:
            self._bytes[changed.session.project_id] += sum(event.ByteSize() for event in changed.events)
        return changed

    async def delete(self, session_id: str, announce: Callable[[Session], Event]) -> Announcement | None:
        query = whole(sessions).where(sessions.c.session_id == session_id)

        def work(connection: sa.Connection) -> Announcement | None:
            row = connection.execute(query.with_for_update() if self._database.shared else query).one_or_none()
            if row is None:
                return None
            for table in (session_events, sessions):
                connection.execute(sa.delete(table).where(table.c.session_id == session_id))
            session = Session.FromString(row.body)
            return enqueue(connection, session.project_id, announce(session))

        try:
            return await self._database.write(work)
        finally:
            self._bytes.clear()

    async def page(
        self, project: str, *, status: int = 0, parent: str = "", before: int | None = None, limit: int = 100
    ) -> Sequence[StoredSession]:
        query = sa.select(sessions.c.number, sa.func.length(sessions.c.body)).where(sessions.c.project_id == project)
        if status:
            query = query.where(sessions.c.status == status)
        if parent:
            query = query.where(sessions.c.parent_id == parent)
        if before is not None:
            query = query.where(sessions.c.number < before)
        query = query.order_by(sessions.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> list[StoredSession]:
            numbers = up_to(connection.execute(query), PAGE_BYTES)
            rows = connection.execute(whole(sessions).where(sessions.c.number.in_(numbers))).all()
            found = sorted(rows, key=lambda row: -int(row.number))
            return [StoredSession(row.number, Session.FromString(row.body)) for row in found]

        return await self._database.read(work)

    async def open(self) -> Sequence[Session]:
        return await self._all(sa.or_(sessions.c.is_open, sessions.c.is_due))

    async def due(self, parent_id: str) -> Sequence[Session]:
        return await self._all(sa.and_(sessions.c.parent_id == parent_id, sessions.c.is_due))

    async def events(self, session_id: str, *, after: int = 0, limit: int = 100) -> Sequence[SessionEvent]:
        columns = session_events.c
        sizes = sa.select(columns.sequence, columns.size).where(
            columns.session_id == session_id, columns.sequence > after
        )
        sizes = sizes.order_by(columns.sequence).limit(limit)

        def work(connection: sa.Connection) -> list[SessionEvent]:
            numbers = up_to(connection.execute(sizes), PAGE_BYTES)
            query = whole(session_events).where(columns.session_id == session_id, columns.sequence.in_(numbers))
            return [SessionEvent.FromString(row.body) for row in connection.execute(query.order_by(columns.sequence))]

        return await self._database.read(work)

    async def last_message(self, session_id: str) -> SessionEvent | None:
        columns = session_events.c
        started = sa.select(sa.func.coalesce(sa.func.max(columns.sequence), 0))
        started = started.where(columns.session_id == session_id, columns.kind == "session_start")
        query = whole(session_events).where(columns.session_id == session_id, columns.kind == _ANSWER)
        query = query.where(columns.sequence > started.scalar_subquery())
        query = query.order_by(columns.sequence.desc()).limit(1)
        row = await self._database.read(lambda c: c.execute(query).first())
        return SessionEvent.FromString(row.body) if row is not None else None

    async def stored_bytes(self, project: str) -> int:
        if self._database.shared or project not in self._bytes:
            size = sa.func.coalesce(sa.func.sum(session_events.c.size), 0)
            query = sa.select(size).where(session_events.c.project_id == project)
            self._bytes[project] = await self._database.read(lambda c: int(c.execute(query).scalar_one()))
        return self._bytes[project]

    async def _one(self, condition: sa.ColumnElement[bool]) -> Session | None:
        return next(iter(await self._all(condition)), None)

    async def _all(self, condition: sa.ColumnElement[bool]) -> list[Session]:
        query = whole(sessions).where(condition).order_by(sessions.c.number)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [Session.FromString(row.body) for row in rows]


def _apply(connection: sa.Connection, change: SessionChange) -> ChangedSession:
    """Stores the record with the next events."""
    session = change.session
    rows = []
    for event in change.events:
        session.event_count += 1
        event.sequence, event.session_id, event.session_name = session.event_count, session.session_id, session.name
        rows.append(_event_columns(session, event))
    if rows:
        connection.execute(sa.insert(session_events), rows)
    update = sa.update(sessions).where(sessions.c.session_id == session.session_id)
    connection.execute(update.values(_columns(session)))
    announced = change.announce(session, change.events)
    return ChangedSession(
        session, change.events, [enqueue(connection, session.project_id, event) for event in announced]
    )


def _is_taken(connection: sa.Connection, session: Session) -> bool:
    same = sa.or_(sessions.c.name == session.name, sessions.c.session_id == session.name)
    query = sa.select(sessions.c.number).where(sessions.c.project_id == session.project_id, same)
    return connection.execute(query).first() is not None


def _columns(session: Session) -> dict[str, Any]:
    return {
        "name": session.name,
        "parent_id": session.parent_session_id,
        "agent_id": session.agent_id,
        "status": session.status,
        "is_open": session.feed.open,
        "is_due": session.feed.callback_due,
        "body": session.SerializeToString(),
    }


def _event_columns(session: Session, event: SessionEvent) -> dict[str, Any]:
    body = event.SerializeToString()
    return {
        "session_id": session.session_id,
        "sequence": event.sequence,
        "project_id": session.project_id,
        "kind": _kind(event),
        "size": len(body),
        "body": body,
    }


def _kind(event: SessionEvent) -> str:
    """Returns what events are found by: those of sub-agents are not the session's answer."""
    if not event.role:
        return event.event_type
    return f"{event.event_type}:{event.role}" + (":sub_agent" if event.sub_agent else "")
