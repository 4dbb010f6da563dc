"""The one file that knows the HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import OrderedDict
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cco_sidecar.core import descriptors
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.gateway.app import Gateway

# RFC 9110 leaves the limits to the server; those of common proxies are smaller.
MAX_HEADER_BYTES = 64 * 1024
HEADER_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 75
_LEAST_CONNECTIONS = 64
_MOST_CONNECTIONS = 16_384


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its two servers."""

    capture_signals = contextlib.nullcontext  # type: ignore[assignment]


class _Connections:
    """Those that are open, the one that has been without a request the longest first. When there are too many it goes;
    none that is being served does."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._idle: OrderedDict[_Connection, None] = OrderedDict()

    def opened(self, connection: _Connection) -> bool:
        """False when there is no room."""
        self._open += 1
        self._idle[connection] = None
        if self._open > self._most:
            oldest = next(iter(self._idle))
            oldest.transport.abort()
            return oldest is not connection
        return True

    def closed(self, connection: _Connection) -> None:
        self._open -= 1
        self._idle.pop(connection, None)

    def busy(self, connection: _Connection) -> None:
        self._idle.pop(connection, None)

    def idle(self, connection: _Connection) -> None:
        self._idle[connection] = None


class _Connection(HttpToolsProtocol):
    """With limits for what comes before the application sees a request."""

    connections_of_server: _Connections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._header_bytes = 0
        self._in_headers = True
        self._messages = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.connections_of_server.opened(self):
            self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self.connections_of_server.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers and self._deadline is None:
            self._expect_headers()
        before = self._messages
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            # Where a request ended in between, so much of the next one's headers came with it as one read holds.
            self._header_bytes = self._header_bytes + len(data) if self._messages == before else 0
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(431, "headers_too_large", f"the headers have more than {MAX_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._cancel_deadline()
        self.connections_of_server.busy(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = True
        self._messages += 1

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.connections_of_server.idle(self)

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._header_bytes:
            self._refuse(408, "request_timeout", f"the headers were not received within {HEADER_SECONDS:g} s")
        else:
            self.transport.abort()

    def _refuse(self, status: int, slug: str, message: str) -> None:
        body = orjson.dumps({"error": slug, "message": message, "code": "REQ_008", "details": {}})
        head = (
            f"HTTP/1.1 {status} {slug}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class HttpServer:
    """Listens from ``bind`` to ``stop``; ``port`` is the real one when 0 was asked for."""

    def __init__(self, gateway: Gateway, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(2048)
        except OSError as problem:
            self._socket.close()
            raise SettingsError(
                f"port {port} on {host} cannot be opened: {problem.strerror or problem}; "
                "choose another with --port or CCO_SIDECAR_PORT"
            ) from problem
        self.port: int = self._socket.getsockname()[1]
        # Half of the descriptors; the rest is for gRPC, files and agents.
        most = min(_MOST_CONNECTIONS, max(_LEAST_CONNECTIONS, descriptors.soft_limit() // 2))
        protocol = type("Connection", (_Connection,), {"connections_of_server": _Connections(most)})
        config = uvicorn.Config(
            gateway,
            loop="none",
            http=protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
            backlog=2048,
        )
        self._server = _Server(config)

    async def serve(self) -> Any:
        """Runs until ``stop``."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """No new connections; open requests have five seconds to end."""
        self._server.should_exit = True
