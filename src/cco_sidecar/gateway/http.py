"""The HTTP server. Beside its connections, this is the only module that depends on uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from cco_sidecar.core import descriptors, sockets
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.gateway.connections import MAX_SAID_BYTES, Connection, Connections, Socket
from cco_sidecar.rpc.listening import Listener
from cco_sidecar.rpc.tls import Tls

ASGI = Callable[..., Awaitable[None]]

_OTHER = {True: "--port or CCO_SIDECAR_PORT", False: "compat.runtime_port, compat.store_port or compat.registry_port"}
_KEEP_ALIVE_SECONDS = 75
_PING_SECONDS = 20.0
_LEAST_CONNECTIONS = 64
_MAX_CONNECTIONS = 16_384
_BACKLOG = 2048


def _most_connections() -> int:
    """Half of the descriptors; the rest is for gRPC, files and agents."""
    return min(_MAX_CONNECTIONS, max(_LEAST_CONNECTIONS, descriptors.soft_limit() // 2))


class _Server(uvicorn.Server):
    """Does not handle signals: they belong to the process, not to one of its two servers."""

    capture_signals = contextlib.nullcontext  # type: ignore[assignment]

    def __init__(self, config: uvicorn.Config, tls: Tls | None) -> None:
        super().__init__(config)
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._tls is None or sockets is None:
            await super().startup(sockets)
            return
        await super().startup(sockets=[])
        self.servers = [Listener(each, self._tls, self._connection, _PLAIN) for each in sockets]  # type: ignore[misc]

    def _connection(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        made: asyncio.Protocol = kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made


# What another machine gets that asks without TLS.
_PLAIN_BODY = b'{"error":"invalid_request","message":"this port speaks TLS; use https://","code":"REQ_001"}'
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
) % len(_PLAIN_BODY) + _PLAIN_BODY


class HttpServer:
    """Binds its port when created and listens from ``start`` to ``stop``.

    ``port`` is the actual port, also if port 0 was requested.
    """

    def __init__(self, settings: Settings, address: tuple[str, int] | None = None, port: int | None = None) -> None:
        """``address``: a host and port of this machine, without TLS, instead of those of the settings. ``port``:
        instead of that of the settings. Raises SettingsError if the port cannot be opened, or the certificate not be
        used."""
        self._tls = Tls.of(settings, "http/1.1") if address is None else None
        host, port = address or (settings.host, settings.port if port is None else port)
        try:
            self._socket = sockets.bound(host, port)
        except OSError as problem:
            raise SettingsError(
                f"cannot open port {port} on {host}: {problem.strerror or problem}; "
                f"fix: choose another with {_OTHER[address is None]}"
            ) from problem
        self.port: int = self._socket.getsockname()[1]
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def start(self, app: ASGI, shared: Connections | None = None) -> None:
        """``shared``: the connections of another port, with which this one shares its limit."""
        self.connections = shared or Connections(_most_connections())
        connections = {"connections_of_server": self.connections}
        protocol = type("Connection", (Connection,), connections)
        config = uvicorn.Config(
            app,
            loop="none",
            http=protocol,
            ws=type("Socket", (Socket,), connections),
            ws_max_size=MAX_SAID_BYTES,
            ws_ping_interval=_PING_SECONDS,
            ws_ping_timeout=_PING_SECONDS,
            ws_per_message_deflate=False,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
            backlog=_BACKLOG,
        )
        self._server = _Server(config, self._tls)
        self._socket.listen(_BACKLOG)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")

    def close(self) -> None:
        """Releases the port."""
        self._socket.close()

    async def stop(self) -> None:
        """Accepts no new connections, and gives open requests five seconds to finish."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
