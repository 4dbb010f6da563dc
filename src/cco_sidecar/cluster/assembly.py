"""Makes the cluster that the settings ask for."""

from __future__ import annotations

import socket

from cco_sidecar import __version__
from cco_sidecar.cluster.alone import Alone
from cco_sidecar.cluster.duties import Duties
from cco_sidecar.cluster.lease_file import FILE, LeaseFile
from cco_sidecar.cluster.membership import Membership
from cco_sidecar.core.clock import Clock, CorrectedClock
from cco_sidecar.core.hosts import authority
from cco_sidecar.core.machine import boot_id
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.cluster import ClusterStore
from orchestra.v1.system_service_pb2 import ClusterMember


def clock_of(settings: Settings, clock: Clock) -> Clock:
    """Returns the clock of a sidecar, which is that of the database if others use it too."""
    return CorrectedClock(clock) if settings.shares else clock


def cluster_of(
    settings: Settings, store: ClusterStore, sidecar_id: str, fingerprint: str, duties: Duties, clock: Clock
) -> Alone | Membership:
    """``settings`` must contain the ports in use; ``fingerprint``: that of the key that signs tokens; ``clock``: that
    of ``clock_of``."""
    if not isinstance(clock, CorrectedClock):
        return Alone(sidecar_id, duties)
    member = ClusterMember(
        sidecar_id=sidecar_id,
        host=socket.gethostname(),
        address=settings.cluster_address or _address(settings),
        tls=settings.tls_cert is not None,
        version=__version__,
        started_at=clock.timestamp(),
        max_concurrent=settings.max_concurrent,
        key_fingerprint=fingerprint,
        boot_id=f"{boot_id()} {settings.storage}",
    )
    membership = Membership(store, member, duties, clock)
    membership.on_beat(LeaseFile(settings.storage / FILE, settings.cluster_lost_after).renew)
    return membership


def _address(settings: Settings) -> str:
    every = settings.host in ("0.0.0.0", "::")
    return authority(socket.gethostname(), settings.real_grpc_port) if every else settings.grpc_target
