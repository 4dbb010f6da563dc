"""The HTTP servers: the API's, and if configured those for clients of the Agent Orchestrator Framework."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.gateway.app import Gateway
from cco_sidecar.gateway.http import HttpServer
from cco_sidecar.rpc.chain import Handlers

if TYPE_CHECKING:
    from cco_sidecar.gateway.orchestrator.servers import OrchestratorServers


class HttpServers:
    """Binds the ports when created and listens from ``start`` to ``stop``. ``port`` is that of the API."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError if a port cannot be opened, or a certificate not be used."""
        self._api = HttpServer(settings)
        self.port = self._api.port
        self._orchestrator = _orchestrator(settings) if settings.compat_ports else None

    def start(self, gateway: Gateway, handlers: Handlers, tokens: Tokens) -> None:
        self._api.start(gateway)
        if self._orchestrator is not None:
            self._orchestrator.start(handlers, tokens)

    async def stop(self) -> None:
        """Accepts no new connections, and gives open requests five seconds to finish."""
        more = [self._orchestrator.stop()] if self._orchestrator is not None else []
        await asyncio.gather(self._api.stop(), *more)

    def close(self) -> None:
        """Releases the ports."""
        self._api.close()
        if self._orchestrator is not None:
            self._orchestrator.close()


def _orchestrator(settings: Settings) -> OrchestratorServers:
    """Raises SettingsError."""
    try:
        from cco_sidecar.gateway.orchestrator.servers import OrchestratorServers
    except ImportError as problem:
        raise SettingsError(
            "compat.ports needs the extra 'compat'; fix: pip install 'cco-sidecar[compat]'"
        ) from problem
    return OrchestratorServers(settings)
