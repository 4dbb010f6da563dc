"""Streamable HTTP of the Model Context Protocol, at ``/mcp`` of the REST port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings

from cco_sidecar.core.bounds import check_json, too_large
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.mcp import server
from cco_sidecar.rpc.chain import Handlers
from cco_sidecar.rpc.local import LocalCalls

# A document with what is around it.
_MAX_BYTES = 17 * 2**20


class McpApp:
    """The ASGI application. A request is answered with the permissions of its token; there are no
    sessions."""

    def __init__(self, handlers: Handlers, path: str) -> None:
        self._handlers = handlers
        made = server.make(self._calls_of)
        # Host and Origin are checked by the gateway, which knows the configured ones.
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self._app = made.streamable_http_app(
            streamable_http_path=path, json_response=True, stateless_http=True, transport_security=security
        )
        self._manager = made.session_manager
        self._running: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    def _calls_of(self, ctx: Context[Any, Any]) -> LocalCalls:
        headers = {key.lower(): value for key, value in (ctx.headers or {}).items()}
        return LocalCalls(self._handlers, headers.get("authorization", ""))

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["method"] != "POST":
            # Without sessions, there is nothing to listen to.
            await _answer(send, 405, {"allow": "POST"}, b"")
            return
        try:
            body = await _body(receive)
        except SidecarError as problem:
            said = {"code": problem.code, "message": problem.message}
            await _answer(send, problem.kind.http_status, {}, orjson.dumps(said))
            return
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="mcp")
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait({ready, self._running}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._running.done():
            running, self._running = self._running, None
            running.result()
        await self._app(scope, _Again(body, receive), send)  # type: ignore[arg-type]

    async def _run(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await asyncio.Event().wait()


class _Again:
    """Gives a body that was read once more."""

    def __init__(self, body: bytes, receive: Callable[[], Awaitable[Any]]) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Any:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    """Returns a body that can be parsed without blocking others. Raises SidecarError (REQ_004)."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > _MAX_BYTES:
            raise too_large("the body", size, _MAX_BYTES)
        if not message.get("more_body"):
            break
    body = b"".join(parts)
    check_json(body)
    return body


async def _answer(send: Callable[[Any], Awaitable[None]], status: int, headers: Mapping[str, str], body: bytes) -> None:
    pairs = [(key.encode(), value.encode()) for key, value in headers.items()]
    pairs += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
