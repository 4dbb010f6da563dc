"""The one file that knows the HTTP server."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import uvicorn

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.gateway.app import Gateway


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its two doors."""

    capture_signals = contextlib.nullcontext  # type: ignore[assignment]


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
        config = uvicorn.Config(
            gateway,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
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
