"""Assembles what sessions consist of."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from cco_sidecar.bus.engine import EventEngine
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.services.sessions import records
from cco_sidecar.services.sessions.callbacks import Callbacks
from cco_sidecar.services.sessions.feed import Feed
from cco_sidecar.services.sessions.results import Results
from cco_sidecar.services.sessions.start import Starter
from cco_sidecar.storage.base import Stores
from cco_sidecar.supervision.supervision import Supervision

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0


class Sessions:
    """Owns the feed, the starter and the callbacks."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        supervision: Supervision,
        events: EventEngine,
        types: AgentTypes,
        projects: Projects,
        clock: Clock,
    ) -> None:
        self.store = stores.sessions
        self.supervisor = supervision.supervisor
        outbox = events.outbox
        self.feed = Feed(stores, supervision, outbox, events.bus, settings.sessions_quota_mb, clock)
        self.starter = Starter(stores, supervision, self.feed, outbox, types, projects, settings, clock)
        self.results = Results(stores, types)
        self._callbacks = Callbacks(stores, supervision, self.feed, self.starter, self.results)
        self._silence = settings.session_silence
        self._cluster = supervision.cluster
        self._clock = clock
        self._background = Background()

    async def start(self) -> None:
        """Continues what an earlier sidecar did. Raises SidecarError."""
        await self.feed.start()
        if self._silence:
            self._background.start(self._look_for_silent(), "silent sessions")

    async def take_over(self, sidecar_id: str) -> None:
        """Continues the sessions of a sidecar that is lost; its agents are here already. Raises SidecarError."""
        await self.feed.take_over(sidecar_id)

    async def close(self) -> None:
        """Stops. The next start continues."""
        await self._background.end()
        await self._callbacks.close()
        await self.feed.close()

    async def _look_for_silent(self) -> None:
        """Ends external sessions whose programs say nothing any more."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._cluster.leads:
                continue
            try:
                await self.end_silent()
            except SidecarError as problem:
                log.warning("cannot look for silent sessions, retrying: %s", problem)

    async def end_silent(self) -> None:
        """Ends the external sessions that had no event for too long. Raises SidecarError."""
        silent = partial(records.silent, now=self._clock.timestamp(), seconds=self._silence)
        for session in await self.store.open():
            if session.external:
                await self.feed.apply(session.session_id, silent)
