"""The ASGI application: REST over HTTP, and streams over WebSocket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cco_sidecar.gateway import requests
from cco_sidecar.gateway.cors import Cors
from cco_sidecar.gateway.documents import Documents
from cco_sidecar.gateway.exchange import Exchange
from cco_sidecar.gateway.incoming import Dependencies, Mcp, Send
from cco_sidecar.gateway.routes import Routes
from cco_sidecar.gateway.websocket import WebSocket
from cco_sidecar.rpc.chain import Handlers


class Gateway:
    """Serves what the HTTP server receives."""

    def __init__(
        self, routes: Routes, handlers: Handlers, documents: Documents, origins: Sequence[str], mcp: Mcp | None = None
    ) -> None:
        self._needs = Dependencies(routes, handlers, documents, Cors(origins), requests.Discards(), mcp)

    async def __call__(self, scope: Mapping[str, Any], receive: requests.Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Exchange(self._needs, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await WebSocket(self._needs, scope, receive, send).run()
