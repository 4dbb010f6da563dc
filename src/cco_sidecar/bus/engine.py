"""The event engine of one process: the log, the bus on it, the outbox, consumers, schedules, schemas and webhooks."""

from __future__ import annotations

import asyncio

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.registry import Consumers
from cco_sidecar.bus.duties import EventDuties
from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.bus.schedules import Schedules
from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.bus.webhooks.registry import Webhooks
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.hosts import AllowedHosts
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.storage.sealing import Seal


def bus_of(settings: Settings, clock: Clock) -> EventBus:
    """Returns the bus that the settings name. Raises SettingsError."""
    if not settings.bus_url:
        return EmbeddedBus(SegmentLog(settings.storage / "events"), clock, settings)
    try:
        from cco_sidecar.bus.jetstream.bus import JetStreamBus
    except ModuleNotFoundError as problem:
        raise SettingsError("bus_url: NATS needs a client; fix: pip install 'cco-sidecar[nats]'") from problem
    return JetStreamBus(clock, settings)


class EventEngine:
    """Creates the parts, and starts and closes them in the right order."""

    def __init__(self, settings: Settings, stores: Stores, seal: Seal, clock: Clock, *, shared: bool = False) -> None:
        """``shared``: other sidecars use the same records and events."""
        self.bus = bus_of(settings, clock)
        self.outbox = Outbox(stores.outbox, self.bus)
        self.consumers = Consumers(stores.consumers, self.bus, self.outbox, clock)
        self.schedules = Schedules(stores.schedules, self.outbox, clock)
        self.schemas = EventSchemas(stores.schemas, clock)
        hosts = AllowedHosts(settings.webhook_hosts)
        self.webhooks = Webhooks(stores.webhooks, self.consumers, hosts, seal, self.bus, clock)
        self.duties = EventDuties(self.consumers, self.schedules, self.webhooks, self.outbox)
        self._shared = shared
        self._background = Background()

    async def recover(self) -> None:
        """Opens what is stored; the duties are recovered by whoever has them, and the outbox once its announcers have
        looked at it. Raises SidecarError."""
        await self.bus.start()
        await self.schemas.recover()

    def start(self) -> None:
        """Starts the periodic work."""
        self._background.start(self.outbox.watch(), "outbox")
        if self._shared:
            self._background.start(self.schemas.follow(), "schemas")

    async def stop(self) -> None:
        """Ends the periodic work."""
        await asyncio.gather(self._background.end(), self.duties.stop())

    async def close(self) -> None:
        """Stores everything that was accepted. Nothing may be published any more."""
        await self.duties.close()
        await self.outbox.close()
        await self.bus.close()

    async def release(self) -> None:
        """Frees files and connections, also of an engine that was not started."""
        await self.bus.release()
