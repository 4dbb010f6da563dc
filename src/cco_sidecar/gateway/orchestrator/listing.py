"""Lists whole collections, as the original does."""

from __future__ import annotations

from cco_sidecar.gateway.orchestrator.calls import Calls
from orchestra.v1.session_service_pb2 import ListSessionsRequest, ListSessionsResponse, Session

_PAGE = 1000


async def every_session(calls: Calls) -> list[Session]:
    """Returns all sessions of the project, the newest first. Raises SidecarError."""
    found: list[Session] = []
    cursor = ""
    while True:
        wanted = ListSessionsRequest(limit=_PAGE, cursor=cursor)
        page = await calls.call("SessionService/ListSessions", wanted, ListSessionsResponse)
        found += page.sessions
        cursor = page.next_cursor
        if not cursor:
            return found
