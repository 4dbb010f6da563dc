"""Streamable HTTP of the Model Context Protocol, at ``/mcp`` of the REST port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings

from cco_sidecar.mcp import server
from cco_sidecar.rpc.chain import Handlers
from cco_sidecar.rpc.local import LocalCalls


class McpApp:
    """The ASGI application. A request is answered for whoever's token it has; there are no sessions."""

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
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="mcp")
        await self._ready.wait()
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    async def _run(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await asyncio.Event().wait()
