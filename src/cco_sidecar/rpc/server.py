"""The gRPC server: our services, health and reflection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import grpc
from grpc_health.v1 import health_pb2

from cco_sidecar.core import descriptors
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.rpc.chain import Handlers, generic_handlers
from cco_sidecar.rpc.grpcio_core import GrpcioCore
from cco_sidecar.rpc.health import Health
from cco_sidecar.rpc.http2.server import Http2Core
from cco_sidecar.rpc.open_services import OpenServices
from cco_sidecar.rpc.receiving import Admission
from cco_sidecar.rpc.tls import Tls

_LEAST_CONNECTIONS = 64
_DRAIN_SECONDS = 5.0


class Core(Protocol):
    """Speaks HTTP/2 on its sockets and runs gRPC's generic handlers. ``port`` is the actual port."""

    port: int

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None: ...

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None:
        """Takes no new calls, and gives open ones ``grace`` seconds to end."""
        ...

    def close(self) -> None:
        """Releases the sockets."""
        ...


class GrpcServer:
    """Binds its port when created and serves from ``start`` to ``stop``.

    ``port`` is the actual port, also if port 0 was requested.
    """

    def __init__(self, settings: Settings, socket: Path | None) -> None:
        """``socket`` is an additional Unix socket. Raises SettingsError if the port cannot be opened."""
        self._services: Sequence[str] = ()
        self._health = Health()
        host, port = settings.host, settings.real_grpc_port
        tls = Tls.of(settings, "h2")
        if tls is not None and settings.grpc_core == "grpcio":
            raise SettingsError("sidecar.grpc_core: grpcio does not serve TLS; remove the setting, or server.tls_cert")
        most = max(_LEAST_CONNECTIONS, descriptors.soft_limit() // 4)
        try:
            self._core: Core
            if settings.grpc_core == "grpcio":
                self._core = GrpcioCore(host, port, socket, most)
            else:
                self._core = Http2Core(host, port, socket, most, tls)
        except OSError as problem:
            raise SettingsError(
                f"cannot open gRPC port {port} on {host} (is it in use?); fix: choose another with --grpc-port"
            ) from problem
        self.port = self._core.port

    async def start(self, handlers: Handlers, admission: Admission) -> None:
        """Serves ``handlers``, by path, together with health and reflection."""
        self._services = sorted({path.split("/")[1] for path in handlers})
        self._core.add_generic_rpc_handlers(generic_handlers(handlers))
        self._core.add_generic_rpc_handlers(OpenServices(self._health, self._services, admission).handlers)
        await self._core.start()
        await self.set_serving(True)

    async def set_serving(self, serving: bool) -> None:
        """Sets the health status of every service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *self._services):
            await self._health.set(service, status)

    async def stop(self) -> None:
        """Rejects new calls, and gives open ones five seconds to finish."""
        await self._core.stop(_DRAIN_SECONDS)

    def close(self) -> None:
        """Releases the port."""
        self._core.close()
