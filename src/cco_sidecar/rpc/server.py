"""The gRPC server: our services, health, reflection."""

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

# What a method takes beyond its own limit is refused with a clear error; beyond this by gRPC.
MAX_RECEIVE_BYTES = 5 * 2**20
_HANDSHAKE_MS = 10_000
_IDLE_MS = 3_600_000
_UNREAD_BYTES = 64 * 1024
# Of one connection, and more than a team needs behind one channel: each costs some 80 KB while it waits.
_MOST_STREAMS = 2000
_MAX_METADATA_BYTES = 32 * 1024
_LEAST_CONNECTIONS = 64
MAX_SEND_BYTES = 32 * 2**20


class GrpcServer:
    """Bound when it is made; ``port`` is the real one when 0 was asked for. Serves from ``start`` to ``stop``."""

    def __init__(self, host: str, port: int, socket: Path | None) -> None:
        """``socket``: a Unix socket beside the port. Raises SettingsError when the port cannot be opened."""
        self._services: Sequence[str] = ()
        self._health = Health()
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
                ("grpc.max_send_message_length", MAX_SEND_BYTES),
                # Idle streams are pinged, so that a vanished client is noticed.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
                ("grpc.max_connection_idle_ms", _IDLE_MS),
                ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
                ("grpc.max_concurrent_streams", _MOST_STREAMS),
                # Of a message that nobody reads yet no more than this comes in; by itself the window would grow
                # to megabytes a call on a fast line.
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
                f"gRPC port {port} on {host} cannot be opened (is it taken?); choose another with --grpc-port"
            ) from problem
        if socket is not None:
            self._server.add_insecure_port(f"unix:{socket}")

    async def start(self, handlers: Handlers, admission: Admission) -> None:
        """``handlers``: by path, of our services. Health and reflection are beside them."""
        self._services = sorted({path.split("/")[1] for path in handlers})
        self._server.add_generic_rpc_handlers(generic_handlers(handlers))
        self._server.add_generic_rpc_handlers(OpenServices(self._health, self._services, admission).handlers)
        await self._server.start()
        await self.set_serving(True)

    async def set_serving(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *self._services):
            await self._health.set(service, status)

    async def stop(self, grace: float) -> None:
        """New calls are refused; open ones have ``grace`` seconds to end."""
        await self._server.stop(grace)
