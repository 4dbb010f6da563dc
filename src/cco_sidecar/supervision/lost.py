"""Sidecars that are lost: the leader takes over their agents, and forgets them. One that comes back gives them up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.supervision.records import Records
from cco_sidecar.supervision.supervisor import Supervisor

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0


class LostSidecars:
    """A Duty. ``take_over`` are called with the ID of each sidecar that is lost, and may raise SidecarError."""

    def __init__(self, cluster: Cluster, after_seconds: int, *take_over: Callable[[str], Awaitable[None]]) -> None:
        self._cluster = cluster
        self._after = after_seconds
        self._take_over = take_over
        self._background = Background()
        self._replacing = Background()

    async def recover(self) -> None:
        """Does nothing: the database knows who is lost."""

    def start(self) -> None:
        self._background.start(self._run(), "sidecars that are lost")

    async def drop(self) -> None:
        await self._background.end()
        # To its end: what was taken over is run.
        await self._replacing.drain()

    async def _run(self) -> None:
        while True:
            for sidecar_id in self._cluster.lost(self._after):
                try:
                    await self._replacing.finish(self._replace(sidecar_id))
                except SidecarError as problem:
                    log.warning("cannot take over the agents of sidecar %s yet: %s", sidecar_id, problem)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _replace(self, sidecar_id: str) -> None:
        log.warning("sidecar %s is lost; its agents are taken over", sidecar_id)
        for take_over in self._take_over:
            await take_over(sidecar_id)
        await self._cluster.forget(sidecar_id)


async def give_up(supervisor: Supervisor, records: Records) -> None:
    """Ends the agents that another sidecar has taken over. What they do here is no longer saved."""
    for active in list(supervisor.active.values()):
        if await records.is_taken_over(active):
            supervisor.abandon(active)
        else:
            active.lease.lost = False
