"""Sidecars that are lost: the leader takes over their agents, and forgets them. One that comes back gives them up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.base import AgentStore
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

    async def recover(self) -> None:
        """Does nothing: the database knows who is lost."""

    def start(self) -> None:
        self._background.start(self._run(), "sidecars that are lost")

    async def drop(self) -> None:
        await self._background.end()

    async def _run(self) -> None:
        while True:
            for sidecar_id in self._cluster.lost(self._after):
                try:
                    # Not cancelled in between: what was taken over is run.
                    await self._background.finish(self._replace(sidecar_id))
                except SidecarError as problem:
                    log.warning("cannot take over the agents of sidecar %s yet: %s", sidecar_id, problem)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _replace(self, sidecar_id: str) -> None:
        log.warning("sidecar %s is lost; its agents are taken over", sidecar_id)
        for take_over in self._take_over:
            await take_over(sidecar_id)
        await self._cluster.forget(sidecar_id)


async def give_up(supervisor: Supervisor, store: AgentStore) -> None:
    """Ends the agents that another sidecar has taken over. What they do here is no longer saved."""
    for active in list(supervisor.active.values()):
        try:
            if await store.sidecar_of(active.agent_id) == supervisor.sidecar_id:
                active.lease.lost = False
                continue
            log.error("agent %s was taken over by another sidecar; it is ended here", active.agent_id)
            await supervisor.stop(active, "another sidecar has taken it over", grace=0.0)
        except SidecarError as problem:
            # Whoever has it says how it ends.
            log.info("agent %s: %s", active.agent_id, problem)
