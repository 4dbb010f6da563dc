"""The server of grpcio, for those who prefer it to our own (setting `sidecar.grpc_core`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio

from cco_sidecar.core.hosts import authority
from cco_sidecar.rpc.limits import (
    HANDSHAKE_SECONDS,
    IDLE_SECONDS,
    MAX_HEADER_BYTES,
    MAX_RECEIVE_BYTES,
    MAX_STREAMS,
    SILENT_SECONDS,
)

_UNREAD_BYTES = 64 * 1024
_MAX_SEND_BYTES = 32 * 2**20


class GrpcioCore:
    """grpc.aio.server with our limits."""

    def __init__(self, host: str, port: int, socket: Path | None, max_connections: int) -> None:
        """Raises OSError if the port cannot be opened."""
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
                ("grpc.max_send_message_length", _MAX_SEND_BYTES),
                # Ping idle connections, so that a vanished client is detected.
                ("grpc.keepalive_time_ms", int(SILENT_SECONDS * 1000)),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
                ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
                ("grpc.max_metadata_size", MAX_HEADER_BYTES),
                ("grpc.max_concurrent_streams", MAX_STREAMS),
                # Limit how much of an unread message is received. With BDP probing, the window would grow to
                # megabytes per call on a fast network.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _UNREAD_BYTES),
                ("grpc.max_allowed_incoming_connections", max_connections),
            ]
        )
        try:
            self.port = self._server.add_insecure_port(authority(host, port))
        except RuntimeError as problem:
            raise OSError(str(problem)) from None
        if socket is not None:
            self._server.add_insecure_port(f"unix:{socket}")

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers(tuple(handlers))

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace: float) -> None:
        await self._server.stop(grace)

    def close(self) -> None:
        """Does nothing: ``stop`` releases the port."""
