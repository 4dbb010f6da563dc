"""What one sidecar does with the events of all: it runs the consumers, the schedules and the webhooks."""

from __future__ import annotations

import asyncio

from cco_sidecar.bus.consumers.registry import Consumers
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.bus.schedules import Schedules
from cco_sidecar.bus.webhooks.registry import Webhooks
from cco_sidecar.core.background import Background


class EventDuties:
    """A Duty of the leader; of a sidecar of its own, always."""

    def __init__(self, consumers: Consumers, schedules: Schedules, webhooks: Webhooks, outbox: Outbox) -> None:
        self._consumers = consumers
        self._schedules = schedules
        self._webhooks = webhooks
        self._outbox = outbox
        self._background = Background()

    async def recover(self) -> None:
        """Loads what is stored. Raises SidecarError."""
        await self._consumers.recover()
        await self._schedules.recover()
        await self._webhooks.recover()

    def start(self) -> None:
        """Starts the periodic work."""
        self._background.start(self._consumers.watch(), "unused consumers")
        self._background.start(self._schedules.run(), "schedules")
        self._background.start(self._outbox.keep_adopting(), "events of sidecars that are gone")
        self._webhooks.start()

    async def drop(self) -> None:
        """Forgets everything: another sidecar has it."""
        self._consumers.drop()
        await asyncio.gather(self._background.end(), self._webhooks.drop())
        self._schedules.drop()

    async def stop(self) -> None:
        """Ends the periodic work."""
        await asyncio.gather(self._background.end(), self._webhooks.stop())

    async def close(self) -> None:
        """Stores the state."""
        await asyncio.gather(self._consumers.close(), self._schedules.close())
