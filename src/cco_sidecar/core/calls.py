"""Calls of the sidecar's services, wherever they run."""

from __future__ import annotations

from typing import Protocol, TypeVar

from google.protobuf.message import Message

from orchestra.v1.session_service_pb2 import ListSessionsRequest, ListSessionsResponse, Session

M = TypeVar("M", bound=Message)

_PAGE = 1000


class Calls(Protocol):
    """The calls of one caller, with its token."""

    async def call(self, rpc: str, request: Message, answer: type[M]) -> M:
        """Calls ``Service/Method``. Raises SidecarError."""
        ...


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
