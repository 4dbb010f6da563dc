"""The gRPC server: our services, health and reflection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2

from cco_sidecar.core import descriptors
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import authority
from cco_sidecar.rpc.chain import Handlers, generic_handlers
from cco_sidecar.rpc.health import Health
from cco_sidecar.rpc.open_services import OpenServices
from cco_sidecar.rpc.receiving import Admission

# A request over its method's own limit gets a clear error; gRPC itself rejects anything over this limit.
MAX_RECEIVE_BYTES = 5 * 2**20
_HANDSHAKE_MS = 10_000
_IDLE_MS = 3_600_000
_UNREAD_BYTES = 64 * 1024
# Per connection; more than a team needs on one channel. Each waiting stream costs about 80 KB.
_MAX_STREAMS = 2000
_MAX_METADATA_BYTES = 32 * 1024
_LEAST_CONNECTIONS = 64
MAX_SEND_BYTES = 32 * 2**20


class GrpcServer:
    """Binds its port when created and serves from ``start`` to ``stop``.

    ``port`` is the actual port, also if port 0 was requested.
    """

    def __init__(self, host: str, port: int, socket: Path | None) -> None:
        """``socket`` is an additional Unix socket. Raises SettingsError if the port cannot be opened."""
        self._services: Sequence[str] = ()
        self._health = Health()
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
                ("grpc.max_send_message_length", MAX_SEND_BYTES),
                # Ping idle connections, so that a vanished client is detected.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
                ("grpc.max_connection_idle_ms", _IDLE_MS),
                ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                # Limit how much of an unread message is received. With BDP probing, the window would grow to
                # megabytes per call on a fast network.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _UNREAD_BYTES),
                (
                    "grpc.max_allowed_incoming_connections",
                    max(_LEAST_CONNECTIONS, descriptors.soft_limit() // 4),
                ),
            ]
        )
        try:
            self.port = self._server.add_insecure_port(authority(host, port))
        except RuntimeError as problem:
            raise SettingsError(
                f"cannot open gRPC port {port} on {host} (is it in use?); fix: choose another with --grpc-port"
            ) from problem
        if socket is not None:
            self._server.add_insecure_port(f"unix:{socket}")

    async def start(self, handlers: Handlers, admission: Admission) -> None:
        """Serves ``handlers``, by path, together with health and reflection."""
        self._services = sorted({path.split("/")[1] for path in handlers})
        self._server.add_generic_rpc_handlers(generic_handlers(handlers))
        self._server.add_generic_rpc_handlers(OpenServices(self._health, self._services, admission).handlers)
        await self._server.start()
        await self.set_serving(True)

    async def set_serving(self, serving: bool) -> None:
        """Sets the health status of every service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *self._services):
            await self._health.set(service, status)

    async def stop(self, grace: float) -> None:
        """Rejects new calls, and gives open ones ``grace`` seconds to finish."""
        await self._server.stop(grace)
