"""Opens the three ports."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.gateway.http import HttpServer
from cco_sidecar.gateway.orchestrator import jobs, registry, runtime, store
from cco_sidecar.gateway.orchestrator.access import Access
from cco_sidecar.gateway.orchestrator.bodies import ERRORS
from cco_sidecar.gateway.orchestrator.calls import Calls
from cco_sidecar.rpc.chain import Handlers
from cco_sidecar.storage.capabilities import Capabilities, Ports

_MB = 2**20
# A document with its form around it; a session event.
_STORE_BYTES, _OTHER_BYTES = 17 * _MB, 4 * _MB
# Only programs of this machine may connect.
_HOST = "127.0.0.1"


class OrchestratorServers:
    """Binds the ports when created and listens from ``start`` to ``stop``."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError if a port cannot be opened."""
        self._capabilities = Capabilities(settings.storage)
        self._origins = frozenset(settings.cors_origins)
        self._projects = Projects(settings)
        ports = (settings.runtime_port, settings.store_port, settings.registry_port)
        self._servers = [HttpServer(settings, (_HOST, port)) for port in ports]
        self._ports = Ports(settings.storage, *(server.port for server in self._servers))

    def start(self, handlers: Handlers, tokens: Tokens) -> None:
        # Commands of this user find the addresses of the default project.
        self._capabilities.of("")
        self._ports.write()
        calls_of = partial(self._calls, handlers, tokens)
        applications: list[tuple[list[Any], int]] = [
            ([*runtime.ROUTES, *jobs.ROUTES], _OTHER_BYTES),
            (store.ROUTES, _STORE_BYTES),
            (registry.ROUTES, _OTHER_BYTES),
        ]
        for server, (routes, most) in zip(self._servers, applications, strict=True):
            server.start(self._app(routes, most, calls_of))

    def _calls(self, handlers: Handlers, tokens: Tokens, project: str) -> Calls:
        named = project or self._projects.default
        return Calls(handlers, tokens, named, self._projects.root(named))

    def _app(self, routes: list[Any], most: int, calls_of: Any) -> ASGIApp:
        app: ASGIApp = Starlette(routes=routes, exception_handlers=ERRORS)
        app = Access(app, self._capabilities, calls_of, origins=self._origins, max_bytes=most)
        if not self._origins:
            return app
        # Outermost: a browser asks before it sends the secret.
        return CORSMiddleware(
            app,
            allow_origins=sorted(self._origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Total-Chars", "X-Char-Range"],
        )

    async def stop(self) -> None:
        self._ports.remove()
        await asyncio.gather(*(server.stop() for server in self._servers))

    def close(self) -> None:
        """Releases the ports."""
        for server in self._servers:
            server.close()
