"""Connections to the other sidecars."""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from orchestra.v1.system_service_pb2 import ClusterMember

_MAX_MESSAGE_BYTES = 32 * 2**20
# Connections for calls that wait.
_WAITING = 8
# A sidecar that is paused, or whose machine is gone, is noticed by these.
_OPTIONS = [
    # A connection for each channel.
    ("grpc.use_local_subchannel_pool", 1),
    # A reader that is slow holds the other sidecar up, instead of filling memory.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 262_144),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
]


class Peers:
    """A few channels to each sidecar. It belongs to the event loop in which it is created."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for a file that cannot be read."""
        self._credentials: grpc.ChannelCredentials | None = None
        authority = settings.cluster_tls_ca
        if settings.tls_cert is not None or authority is not None:
            # They show the certificate that they serve with.
            files = (authority, settings.tls_key or settings.tls_cert, settings.tls_cert)
            self._credentials = grpc.ssl_channel_credentials(*(_read(path) for path in files))
        self._channels: dict[tuple[str, bool, int], grpc.aio.Channel] = {}
        self._turn = 0

    def channel(self, member: ClusterMember, *, waits: bool) -> grpc.aio.Channel:
        """Returns a channel to a sidecar, connected or not. Calls that wait have others than those that are answered at
        once: a connection takes a limited number of calls."""
        slot = 0
        if waits:
            self._turn = self._turn % _WAITING + 1
            slot = self._turn
        key = (member.address, member.tls, slot)
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
