"""SessionService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from cco_sidecar.core.clock import Clock
from cco_sidecar.core.paging import number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.sessions import access, changes
from cco_sidecar.services.sessions.sessions import Sessions
from orchestra.v1 import session_service_pb2 as pb


class SessionServicer:
    """Implements orchestra.v1.SessionService. Errors are raised as SidecarError."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._store = sessions.store
        self._starter = sessions.starter
        self._feed = sessions.feed
        self._results = sessions.results
        self._changes = changes.Changes(sessions, clock)

    async def CreateSession(self, request: pb.CreateSessionRequest, principal: Principal) -> pb.CreateSessionResponse:
        session = await self._starter.create(request, principal)
        return pb.CreateSessionResponse(session=await self._ended(session, request.mode))

    async def GetSession(self, request: pb.GetSessionRequest, principal: Principal) -> pb.GetSessionResponse:
        session = await access.require(self._store, request.project_id, request.session_id)
        return pb.GetSessionResponse(session=session)

    async def ListSessions(self, request: pb.ListSessionsRequest, principal: Principal) -> pb.ListSessionsResponse:
        parent = request.parent_session_id
        if parent:
            parent = (await access.require(self._store, request.project_id, parent)).session_id
        page = await paged(
            lambda before, limit: self._store.page(
                request.project_id,
                status=request.status,
                parent=parent,
                before=before,
                limit=limit,
            ),
            number_of(request.cursor),
            request.limit,
        )
        return pb.ListSessionsResponse(sessions=[each.session for each in page.items], next_cursor=page.next_cursor)

    async def ResumeSession(self, request: pb.ResumeSessionRequest, principal: Principal) -> pb.ResumeSessionResponse:
        session = await self._starter.resume(request, principal)
        return pb.ResumeSessionResponse(session=await self._ended(session, request.mode))

    async def StopSession(self, request: pb.StopSessionRequest, principal: Principal) -> pb.StopSessionResponse:
        return pb.StopSessionResponse(session=await self._changes.stop(request, principal))

    async def UpdateSession(self, request: pb.UpdateSessionRequest, principal: Principal) -> pb.UpdateSessionResponse:
        return pb.UpdateSessionResponse(session=await self._changes.update(request, principal))

    async def DeleteSession(self, request: pb.DeleteSessionRequest, principal: Principal) -> pb.DeleteSessionResponse:
        deleted = await self._changes.delete(request, principal)
        return pb.DeleteSessionResponse(session_id=deleted.session_id, events_deleted=deleted.event_count)

    async def GetSessionResult(
        self, request: pb.GetSessionResultRequest, principal: Principal
    ) -> pb.GetSessionResultResponse:
        session = await access.require(self._store, request.project_id, request.session_id)
        await access.require_readable(self._store, session, principal)
        if request.timeout:
            await self._feed.wait(session.session_id, request.timeout / 1000)
            session = await access.require(self._store, request.project_id, session.session_id)
        return await self._results.of(session)

    async def ListSessionEvents(
        self, request: pb.ListSessionEventsRequest, principal: Principal
    ) -> pb.ListSessionEventsResponse:
        session = await access.require(self._store, request.project_id, request.session_id)
        await access.require_readable(self._store, session, principal)
        events = await self._store.events(session.session_id, after=request.after, limit=request.limit or 100)
        last = events[-1].sequence if events else request.after
        return pb.ListSessionEventsResponse(events=events, last=last, more_available=last < session.event_count)

    async def AddSessionEvent(
        self, request: pb.AddSessionEventRequest, principal: Principal
    ) -> pb.AddSessionEventResponse:
        return pb.AddSessionEventResponse(event=await self._changes.add_event(request, principal))

    async def _ended(self, session: pb.Session, mode: pb.SessionMode) -> pb.Session:
        """With ``SESSION_MODE_SYNC``, waits for the end."""
        if mode != pb.SESSION_MODE_SYNC or session.external:
            return session
        await self._feed.wait(session.session_id, None)
        return await access.require(self._store, session.project_id, session.session_id)
