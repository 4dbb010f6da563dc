"""Stops, changes and deletes sessions, and adds the events of external ones."""

from __future__ import annotations

from functools import partial

from cco_sidecar.core import announcements
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import conflict, invalid_request
from cco_sidecar.core.metadata import check_metadata, merge_metadata
from cco_sidecar.core.principal import Principal
from cco_sidecar.runners.launch import GRACE_SECONDS
from cco_sidecar.services.sessions import access, records
from cco_sidecar.services.sessions.sessions import Sessions
from cco_sidecar.services.sessions.start import check_name
from cco_sidecar.storage.sessions import SessionChange
from orchestra.v1.session_service_pb2 import (
    AddSessionEventRequest,
    DeleteSessionRequest,
    Session,
    SessionEvent,
    StopSessionRequest,
    UpdateSessionRequest,
)


class Changes:
    """Raises SidecarError (SES_001) for an unknown session."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._store = sessions.store
        self._feed = sessions.feed
        self._clock = clock

    async def stop(self, request: StopSessionRequest, principal: Principal) -> Session:
        """Raises SidecarError (SES_003) for an external session that runs."""
        session = await access.require(self._store, request.project_id, request.session_id)
        await self._stop(session, principal)
        return await access.require(self._store, request.project_id, session.session_id)

    async def _stop(self, session: Session, principal: Principal) -> None:
        if not session.feed.open:
            return
        if session.external:
            raise conflict("SES_003", f"session '{session.name}' is run by another program; stop it there")
        active = self._sessions.supervisor.find(session.agent_id)
        if active is not None:
            by = "the operator" if principal.operator else principal.subject
            await self._sessions.supervisor.stop(active, f"stopped by {by}", grace=GRACE_SECONDS)
        await self._feed.wait(session.session_id, None)

    async def update(self, request: UpdateSessionRequest, principal: Principal) -> Session:
        """Raises SidecarError: REQ_001, SES_002 if the name is taken."""
        check_metadata(request.metadata.items())
        if request.HasField("name"):
            check_name(request.name)
        session = await access.require(self._store, request.project_id, request.session_id)
        for name in ("project_dir", "blueprint"):
            if request.HasField(name) and not session.external:
                raise invalid_request(f"{name}: only for an external session", field=name)
        now = self._clock.timestamp()

        def make(found: Session) -> SessionChange:
            for name in ("name", "project_dir", "blueprint"):
                if request.HasField(name):
                    setattr(found, name, getattr(request, name))
            merge_metadata(found.metadata, request.metadata)
            found.modified_at.CopyFrom(now)
            return SessionChange(
                found, (), lambda new, _: [announcements.of_session(new, "session_updated", principal)]
            )

        changed = await self._feed.apply(session.session_id, make)
        if changed is None:
            raise access.unknown(request.session_id)
        return changed.session

    async def delete(self, request: DeleteSessionRequest, principal: Principal) -> Session:
        """Raises SidecarError (SES_003) for a session that has not ended, without ``force``."""
        session = await access.require(self._store, request.project_id, request.session_id)
        if session.feed.open and not request.force:
            raise conflict("SES_003", f"session '{session.name}' has not ended; stop it first, or use force")
        if not session.external:
            await self._stop(session, principal)
            session = await access.require(self._store, request.project_id, session.session_id)
        if not await self._feed.remove(session.session_id, principal):
            raise access.unknown(request.session_id)
        return session

    async def add_event(self, request: AddSessionEventRequest, principal: Principal) -> SessionEvent:
        """Raises SidecarError: SES_003 for a session that the sidecar runs, STR_003."""
        session = await access.require(self._store, request.project_id, request.session_id)
        if not session.external:
            raise conflict("SES_003", f"session '{session.name}' is run by the sidecar, which reads its events itself")
        await self._sessions.starter.check_quota(request.project_id)
        now = self._clock.timestamp()
        event = _event_of(request)
        if not event.HasField("timestamp"):
            event.timestamp.CopyFrom(now)
        changed = await self._feed.apply(session.session_id, partial(records.reported, event=event, now=now))
        if changed is None:
            raise access.unknown(request.session_id)
        return changed.events[0]


def _event_of(request: AddSessionEventRequest) -> SessionEvent:
    """Raises SidecarError (REQ_001) for a message of nobody, or a tool without a name."""
    if request.event_type == "message" and not request.role:
        raise invalid_request("role: a message needs one", field="role")
    if request.event_type in ("pre_tool", "post_tool") and not request.tool_name:
        raise invalid_request("tool_name: a tool needs a name", field="tool_name")
    event = SessionEvent()
    for name in ("event_type", "tool_name", "error", "role", "reason"):
        setattr(event, name, getattr(request, name))
    for name in ("timestamp", "tool_input", "tool_output"):
        if request.HasField(name):
            getattr(event, name).CopyFrom(getattr(request, name))
    if request.HasField("exit_code"):
        event.exit_code = request.exit_code
    for part in request.content:
        event.content.add(type=part.type or "text", text=part.text)
    return event
