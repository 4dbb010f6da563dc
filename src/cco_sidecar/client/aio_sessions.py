"""The asynchronous client: sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from cco_sidecar.client import requests
from cco_sidecar.client.aio_calls import AsyncCalls
from cco_sidecar.client.errors import UnavailableError
from cco_sidecar.core.retry import Backoff
from orchestra.v1 import session_service_pb2 as session_pb
from orchestra.v1 import session_service_pb2_grpc

# Seconds of one call that waits; the next call continues.
_WAIT_SECONDS = 60.0
_MODES: dict[str, session_pb.SessionMode] = {
    "": session_pb.SESSION_MODE_UNSPECIFIED,
    "sync": session_pb.SESSION_MODE_SYNC,
    "poll": session_pb.SESSION_MODE_POLL,
    "callback": session_pb.SESSION_MODE_CALLBACK,
}
_OPEN = (session_pb.SESSION_STATUS_PENDING, session_pb.SESSION_STATUS_RUNNING)


class Sessions:
    """Named conversations with an agent. A session is named by its ID or its name; ``mode`` is ``poll``, ``sync`` (the
    call returns at the end of the session) or ``callback`` (its parent is resumed with its result)."""

    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = session_service_pb2_grpc.SessionServiceStub(client.channel)

    async def create(
        self,
        name: str,
        prompt: str = "",
        *,
        blueprint: str = "",
        parameters: Mapping[str, Any] | None = None,
        mode: str = "",
        parent_session_id: str = "",
        issue_id: str = "",
        model: str = "",
        metadata: Mapping[str, str] | None = None,
        project_id: str = "",
    ) -> session_pb.Session:
        """Starts a session. Raises ConflictError if the name is taken."""
        request = session_pb.CreateSessionRequest(
            name=name,
            prompt=prompt,
            blueprint=blueprint,
            mode=_mode(mode),
            parent_session_id=parent_session_id,
            issue_id=issue_id,
            model=model,
            metadata=metadata,
            project_id=project_id,
        )
        if parameters is not None:
            request.parameters.update(parameters)
        return (await self._client.call(self._stub.CreateSession, request)).session

    async def register(
        self,
        name: str,
        *,
        session_id: str = "",
        blueprint: str = "",
        project_dir: str = "",
        metadata: Mapping[str, str] | None = None,
        project_id: str = "",
    ) -> session_pb.Session:
        """Registers a session that the caller's own program runs; ``add_event`` reports what happens in it."""
        request = session_pb.CreateSessionRequest(
            name=name,
            external=True,
            session_id=session_id,
            blueprint=blueprint,
            project_dir=project_dir,
            metadata=metadata,
            project_id=project_id,
        )
        return (await self._client.call(self._stub.CreateSession, request)).session

    async def get(self, session_id: str, *, project_id: str = "") -> session_pb.Session:
        """Returns a session. Raises NotFoundError."""
        request = session_pb.GetSessionRequest(session_id=session_id, project_id=project_id)
        return (await self._client.call(self._stub.GetSession, request)).session

    async def list(
        self,
        *,
        status: str = "",
        parent_session_id: str = "",
        limit: int | None = None,
        cursor: str = "",
        project_id: str = "",
    ) -> session_pb.ListSessionsResponse:
        """Returns sessions, the newest first. ``status``: ``pending``, ``running``, ``finished``, ``failed``,
        ``stopped``, or empty for all."""
        request = requests.filled(
            session_pb.ListSessionsRequest,
            status=status,
            parent_session_id=parent_session_id,
            limit=limit,
            cursor=cursor,
            project_id=project_id,
        )
        return await self._client.call(self._stub.ListSessions, request)

    async def iterate(
        self, *, status: str = "", parent_session_id: str = "", project_id: str = ""
    ) -> AsyncIterator[session_pb.Session]:
        """Yields all sessions, the newest first."""
        cursor = ""
        while True:
            page = await self.list(
                status=status, parent_session_id=parent_session_id, limit=1000, cursor=cursor, project_id=project_id
            )
            for session in page.sessions:
                yield session
            cursor = page.next_cursor
            if not cursor:
                return

    async def resume(self, session_id: str, prompt: str, *, mode: str = "", project_id: str = "") -> session_pb.Session:
        """Starts a session that has ended again. Raises NotFoundError, ConflictError if it has not ended."""
        request = session_pb.ResumeSessionRequest(
            session_id=session_id, prompt=prompt, mode=_mode(mode), project_id=project_id
        )
        return (await self._client.call(self._stub.ResumeSession, request)).session

    async def stop(self, session_id: str, *, project_id: str = "") -> session_pb.Session:
        """Stops a session, and returns when it has ended. Raises NotFoundError."""
        request = session_pb.StopSessionRequest(session_id=session_id, project_id=project_id)
        return (await self._client.call(self._stub.StopSession, request)).session

    async def update(
        self,
        session_id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        project_id: str = "",
    ) -> session_pb.Session:
        """Changes the name or metadata; an empty value removes its key. Raises NotFoundError, ConflictError if the name
        is taken."""
        request = session_pb.UpdateSessionRequest(
            session_id=session_id, name=name, metadata=metadata, project_id=project_id
        )
        return (await self._client.call(self._stub.UpdateSession, request)).session

    async def delete(self, session_id: str, *, force: bool = False, project_id: str = "") -> int:
        """Deletes a session, and returns how many events it had; ``force`` stops it first. Raises NotFoundError,
        ConflictError if it has not ended."""
        request = session_pb.DeleteSessionRequest(session_id=session_id, force=force, project_id=project_id)
        return (await self._client.call(self._stub.DeleteSession, request)).events_deleted

    async def result(
        self, session_id: str, *, timeout: float = 0.0, project_id: str = ""
    ) -> session_pb.GetSessionResultResponse:
        """Returns what a session has answered, after waiting up to ``timeout`` seconds (at most 300) for its end.
        Without an end, only the status is set."""
        request = session_pb.GetSessionResultRequest(
            session_id=session_id, timeout=int(timeout * 1000), project_id=project_id
        )
        return await self._client.call(self._stub.GetSessionResult, request)

    async def wait(self, session_id: str, *, project_id: str = "") -> session_pb.GetSessionResultResponse:
        """Waits for the end of a session, and returns what it has answered. Continues after a restart of the
        sidecar."""
        backoff = Backoff()
        while True:
            try:
                found = await self.result(session_id, timeout=_WAIT_SECONDS, project_id=project_id)
            except UnavailableError:
                await asyncio.sleep(backoff.failed())
                continue
            backoff.succeeded()
            if found.status not in _OPEN:
                return found

    async def events(
        self, session_id: str, *, after: int = 0, limit: int | None = None, project_id: str = ""
    ) -> session_pb.ListSessionEventsResponse:
        """Returns the events after the number ``after``, the oldest first."""
        request = session_pb.ListSessionEventsRequest(
            session_id=session_id, after=after, limit=limit, project_id=project_id
        )
        return await self._client.call(self._stub.ListSessionEvents, request)

    async def add_event(
        self, session_id: str, event_type: str, *, project_id: str = "", **fields: Any
    ) -> session_pb.SessionEvent:
        """Adds an event to a session that the caller's own program runs. ``fields`` are those of
        ``AddSessionEventRequest``, as in JSON."""
        named = {"session_id": session_id, "event_type": event_type, "project_id": project_id} | fields
        request = requests.read(session_pb.AddSessionEventRequest, named)
        return (await self._client.call(self._stub.AddSessionEvent, request)).event


def _mode(name: str) -> session_pb.SessionMode:
    try:
        return _MODES[name]
    except KeyError:
        raise ValueError(f"mode: {name!r} is not one of: {', '.join(filter(None, _MODES))}") from None
