"""A sidecar that shares nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cco_sidecar.cluster.duties import Duties
from orchestra.v1.system_service_pb2 import ClusterMember, ClusterStatus


class Alone:
    """Implements Cluster."""

    shared = False
    leads = True
    silent_seconds = 0.0

    def __init__(self, sidecar_id: str, duties: Duties) -> None:
        self.sidecar_id = sidecar_id
        self._duties = duties

    async def join(self) -> None:
        """Takes the duties, for good. Raises SidecarError."""
        await self._duties.take()

    async def leave(self, *, gone: bool) -> None:
        """Does nothing: nobody is left behind."""

    def find(self, sidecar_id: str) -> ClusterMember | None:
        return None

    def leader(self) -> ClusterMember | None:
        return None

    def lost(self, seconds: float) -> Sequence[str]:
        return ()

    async def forget(self, sidecar_id: str) -> None:
        """Does nothing: there is no other."""

    async def changed(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def status(self) -> ClusterStatus | None:
        return None
