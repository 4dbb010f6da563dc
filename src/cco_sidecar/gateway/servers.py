"""The HTTP servers: the API's, and if configured those for clients of the Agent Orchestrator Framework."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.gateway.app import Gateway
from cco_sidecar.gateway.http import HttpServer
from cco_sidecar.rpc.chain import Handlers

if TYPE_CHECKING:
    from cco_sidecar.gateway.orchestrator.servers import OrchestratorServers


log = logging.getLogger(__name__)


class HttpServers:
    """Binds the ports when created and listens from ``start`` to ``stop``.

    The dashboard's port has the same content as that of the API, and is for people.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError if a port cannot be opened, or a certificate not be used."""
        self._api = HttpServer(settings)
        self._orchestrator = _orchestrator(settings) if settings.compat_ports else None
        self._dashboard: HttpServer | None = None
        # The log is not set up yet.
        self._warning = ""
        if settings.dashboard_port is not None and settings.dashboard_port != self._api.port:
            try:
                self._dashboard = HttpServer(settings, port=settings.dashboard_port)
            except SettingsError as problem:
                self._warning = (
                    f"cannot open port {settings.dashboard_port} for the dashboard, which is only on port "
                    f"{self._api.port}: {problem.__cause__}; choose another with --dashboard-port"
                )

    @property
    def ports(self) -> dict[str, Any]:
        """The actual ports by their settings. That of the dashboard is None if another program has it."""
        return {"port": self._api.port, "dashboard_port": self._dashboard and self._dashboard.port}

    def start(self, gateway: Gateway, handlers: Handlers, tokens: Tokens) -> None:
        if self._warning:
            log.warning("%s", self._warning)
        self._api.start(gateway)
        if self._dashboard is not None:
            self._dashboard.start(gateway, self._api.connections)
        if self._orchestrator is not None:
            self._orchestrator.start(handlers, tokens)

    async def stop(self) -> None:
        """Accepts no new connections, and gives open requests five seconds to finish."""
        more = [each.stop() for each in (self._dashboard, self._orchestrator) if each is not None]
        await asyncio.gather(self._api.stop(), *more)

    def close(self) -> None:
        """Releases the ports."""
        for each in (self._api, self._dashboard, self._orchestrator):
            if each is not None:
                each.close()


def _orchestrator(settings: Settings) -> OrchestratorServers:
    """Raises SettingsError."""
    try:
        from cco_sidecar.gateway.orchestrator.servers import OrchestratorServers
    except ImportError as problem:
        raise SettingsError(
            "compat.ports needs the extra 'compat'; fix: pip install 'cco-sidecar[compat]'"
        ) from problem
    return OrchestratorServers(settings)
