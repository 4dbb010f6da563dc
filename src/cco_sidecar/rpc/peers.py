"""Connections to the other sidecars."""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from orchestra.v1.system_service_pb2 import ClusterMember

_MAX_MESSAGE_BYTES = 32 * 2**20
# A sidecar that is paused, or whose machine is gone, is noticed by these.
_OPTIONS = [
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
]


class Peers:
    """One channel to each sidecar. It belongs to the event loop in which it is created."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for a file that cannot be read."""
        self._credentials: grpc.ChannelCredentials | None = None
        authority = settings.cluster_tls_ca
        if settings.tls_cert is not None or authority is not None:
            # They show the certificate that they serve with.
            files = (authority, settings.tls_key or settings.tls_cert, settings.tls_cert)
            self._credentials = grpc.ssl_channel_credentials(*(_read(path) for path in files))
        self._channels: dict[tuple[str, bool], grpc.aio.Channel] = {}

    def channel(self, member: ClusterMember) -> grpc.aio.Channel:
        """Returns the channel to a sidecar, connected or not."""
        key = (member.address, member.tls)
        if key not in self._channels:
            if member.tls:
                credentials = self._credentials or grpc.ssl_channel_credentials()
                self._channels[key] = grpc.aio.secure_channel(member.address, credentials, _OPTIONS)
            else:
                self._channels[key] = grpc.aio.insecure_channel(member.address, _OPTIONS)
        return self._channels[key]

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


def _read(path: Path | None) -> bytes | None:
    """Raises SettingsError."""
    try:
        return path.read_bytes() if path is not None else None
    except OSError as problem:
        raise SettingsError(f"cannot read the TLS file {path}: {problem.strerror}") from problem
