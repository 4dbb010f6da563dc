"""The gRPC server: our services, health, reflection."""

from __future__ import annotations

from collections.abc import Sequence

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import authority
from cco_sidecar.rpc.chain import Handlers, generic_handlers

MAX_RECEIVE_BYTES = 16 * 2**20
MAX_SEND_BYTES = 32 * 2**20


class GrpcServer:
    """Listens from ``start`` to ``stop``; ``port`` is the real one when 0 was asked for."""

    def __init__(self, handlers: Handlers, services: Sequence[str], host: str, port: int) -> None:
        self._services = services
        self._health = HealthServicer()
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
                ("grpc.max_send_message_length", MAX_SEND_BYTES),
                # Idle streams are pinged, so that a vanished client is noticed.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ]
        )
        self._server.add_generic_rpc_handlers(generic_handlers(handlers))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        try:
            self.port = self._server.add_insecure_port(authority(host, port))
        except RuntimeError as problem:
            raise SettingsError(
                f"gRPC port {port} on {host} cannot be opened (is it taken?); choose another with --grpc-port"
            ) from problem

    async def start(self) -> None:
        await self._server.start()
        await self.set_serving(True)

    async def set_serving(self, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *self._services):
            await self._health.set(service, status)

    async def stop(self, grace: float) -> None:
        """New calls are refused; open ones have ``grace`` seconds to end."""
        await self._server.stop(grace)
