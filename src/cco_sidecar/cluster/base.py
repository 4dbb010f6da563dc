"""What the rest of a sidecar knows about the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestra.v1.system_service_pb2 import ClusterMember, ClusterStatus


class Cluster(Protocol):
    """The sidecars that share the records and the events; a sidecar of its own is the only one."""

    @property
    def sidecar_id(self) -> str:
        """The ID of this sidecar, which stays with its storage directory."""
        ...

    @property
    def shared(self) -> bool:
        """Whether there may be others."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this sidecar leads, and has begun to."""
        ...

    @property
    def silent_seconds(self) -> float:
        """How long ago this sidecar gave the others a sign of life; until then nobody took its agents over."""
        ...

    def find(self, sidecar_id: str) -> ClusterMember | None:
        """Returns a sidecar that gave a sign of life in time."""
        ...

    def leader(self) -> ClusterMember | None:
        """Returns the sidecar that leads; None while another is chosen."""
        ...

    def lost(self, seconds: float) -> Sequence[str]:
        """Returns the IDs of the other sidecars that gave no sign of life for so long."""
        ...

    async def forget(self, sidecar_id: str) -> None:
        """Removes a sidecar that is lost. Only the leader does so. Raises SidecarError (CLU_001)."""
        ...

    async def changed(self, seconds: float) -> None:
        """Returns when something may have changed, or after ``seconds``."""
        ...

    def status(self) -> ClusterStatus | None:
        """Returns what is known of all; None for a sidecar of its own."""
        ...
