"""What a request brings, over HTTP or as the opening of a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import grpc.aio
from google.protobuf.message import Message

from cco_sidecar.core import ids
from cco_sidecar.core.errors import Kind, SidecarError, internal
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.gateway import compat, requests
from cco_sidecar.gateway.cors import Cors
from cco_sidecar.gateway.documents import Documents
from cco_sidecar.gateway.routes import Route, Routes
from cco_sidecar.rpc.chain import Handlers
from cco_sidecar.rpc.local import LocalContext

log = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Mcp(Protocol):
    """The tools of the Model Context Protocol, at ``path``."""

    path: str

    def require_caller(self, headers: Mapping[str, str]) -> None:
        """Raises SidecarError (AUTH_001, AUTH_002) without a valid token."""
        ...

    async def __call__(self, scope: Mapping[str, Any], receive: requests.Receive, send: Send) -> None: ...


class Dependencies(NamedTuple):
    """What every request needs."""

    routes: Routes
    handlers: Handlers
    documents: Documents
    cors: Cors
    discards: requests.Discards
    mcp: Mcp | None = None


class Incoming:
    """A request with its path and headers, and the context for the chain."""

    def __init__(self, needs: Dependencies, scope: Mapping[str, Any], receive: requests.Receive, send: Send) -> None:
        self.needs = needs
        self.path: str = scope["raw_path"].decode("latin-1") or "/"
        self.query: bytes = scope["query_string"]
        self.header_list = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        self.headers = dict(self.header_list)
        client = scope["client"] or ("", 0)
        family = "ipv6:[%s]:%s" if ":" in client[0] else "ipv4:%s:%s"
        given = self.headers.get("x-request-id", "")
        self.request_id = given if ids.is_id(given) else ids.request_id()
        metadata = [*requests.metadata_of(self.header_list), ("x-request-id", self.request_id)]
        self.context = LocalContext(metadata, family % tuple(client))
        self._receive = receive
        self._send = send

    async def serve(self, answer: Awaitable[None]) -> None:
        """Awaits the answer, and turns a failure into a refusal."""
        try:
            await answer
            return
        except (ConnectionResetError, asyncio.CancelledError):
            # The client disconnected or the server is stopping; nobody reads a response.
            return
        except SidecarError as problem:
            error = problem
        except grpc.aio.AbortError:
            error = self.context.error()
        except Exception:
            log.exception("%s failed", self.path, extra={"request_id": self.request_id})
            error = internal("INT_001", f"internal error; see the log for request {self.request_id}")
        with suppress(ConnectionResetError):
            await self.refuse(error)

    def check_origin(self) -> None:
        """Raises SidecarError (AUTH_003) for a page of another site, unless it is allowed."""
        origin = self.headers.get("origin")
        if origin is None or self.needs.cors.allows(origin):
            return
        host = self.headers.get("host")
        if not host or origin.partition("://")[2] != host:
            text = f"a page of {origin[:200]} may not connect; allow it with sidecar.cors_origins in the configuration"
            raise SidecarError(Kind.PERMISSION_DENIED, "AUTH_003", text)

    async def refuse(self, error: SidecarError) -> None:
        raise NotImplementedError

    async def decoded(self, route: Route, variables: dict[str, str], body: bytes) -> Message:
        """Builds the request's message. Raises SidecarError."""
        request = await beside_the_loop(
            requests.request_of, route, variables, self.query, body, self.headers, size=len(body)
        )
        if route.rpc in compat.SSE_BY_DEFAULT:
            compat.resume(request, self.headers)
        return request

    async def send(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except (RuntimeError, OSError) as problem:
            raise ConnectionResetError("the client disconnected") from problem
