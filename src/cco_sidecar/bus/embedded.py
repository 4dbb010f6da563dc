"""The event bus of one process: publishing appends to the log and wakes the readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from cco_sidecar.bus.base import Outgoing, Published
from cco_sidecar.bus.commits import GroupCommit, Pending
from cco_sidecar.bus.entry import Entry, identified
from cco_sidecar.bus.history import History
from cco_sidecar.bus.idempotency import WINDOW_MICROS
from cco_sidecar.bus.journal import Journal
from cco_sidecar.bus.journaled import Channel, JournaledBus
from cco_sidecar.bus.publishing import Publishing, check_together
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.base import EventLog


class EmbeddedBus(JournaledBus):
    """An EventBus on an EventLog that no other process appends to."""

    def __init__(self, event_log: EventLog, clock: Clock, settings: Settings) -> None:
        super().__init__(clock, settings, event_log.syncs)
        self._log = event_log
        self._commits = GroupCommit(event_log, clock, self._deliver, self._flush_committed)
        self._publishing = Publishing(self._commits, clock)

    async def start(self) -> None:
        """Loads the stored events of every project."""
        for project in await self._log.projects():
            await self._channel(project)

    async def publish(self, outgoing: Outgoing) -> Published:
        channel = await self._channel_for(outgoing)
        self._publishing.check(channel.journal, channel.keys, outgoing)
        return await self._publishing.submit(channel.keys, outgoing)

    async def publish_all(self, outgoing: Sequence[Outgoing]) -> list[Published]:
        if not outgoing:
            return []
        channels = [await self._channel_for(each) for each in outgoing]
        check_together(outgoing)
        for number, (channel, each) in enumerate(zip(channels, outgoing, strict=True)):
            try:
                self._publishing.check(channel.journal, channel.keys, each)
            except SidecarError as problem:
                raise problem.within(f"events[{number}]") from problem
        return await self._publishing.submit_all([channel.keys for channel in channels], outgoing)

    def _deliver(self, item: Pending, seq: int) -> list[str]:
        """Hands out a committed event, and returns the names of its readers."""
        channel = self._channels[item.record.project]
        record = item.record
        item.event.event_id = channel.journal.cursor(seq)
        payload = identified(record.payload, item.event.event_id)
        entry = Entry(seq, item.event, payload, self._clock.steady_micros(), record.ttl)
        entry.message = item.event
        self.counters.published += 1
        return self._arrive(channel, entry, record.micros)

    def _flush_committed(self, urgent: bool) -> None:
        self._flush.schedule(urgent=urgent)

    @property
    def failing(self) -> bool:
        return self._commits.failing

    @property
    def queue_depth(self) -> int:
        return self._commits.depth

    async def probe(self) -> None:
        if self.failing:
            with suppress(OSError):
                await self._log.probe()
                self._commits.failing = False

    def tell(self, what: str, message: bytes) -> None:
        """Does nothing: there is no other sidecar."""

    def hear(self, what: str, listener: Callable[[bytes], None]) -> None:
        """Does nothing, for the same reason."""

    async def close(self) -> None:
        self.stop_readers()
        await self._commits.close()
        await super().close()

    async def release(self) -> None:
        await self._log.close()

    async def _open(self, project: str) -> Channel:
        opened = await self._log.open(project)
        journal = Journal.restored(opened, self._limits)
        channel = Channel(project, journal, History(self._log, project, journal))
        oldest = self._clock.steady_micros() - WINDOW_MICROS
        latest = [entry for entry in journal.after(journal.floor, len(opened.records)) if entry.arrived > oldest]
        channel.keys.restore(latest)
        return channel

    async def _channel_for(self, outgoing: Outgoing) -> Channel:
        """Returns the channel once it knows all that the conditions of a publisher are about."""
        channel = await self._channel(outgoing.project)
        if outgoing.event.idempotency_key:
            await channel.history.learn_keys(channel.keys, self._clock.steady_micros())
        if outgoing.expected_last:
            await channel.history.learn_topic(outgoing.event.topic)
        return channel

    def _droppable(self, project: str, upto: int, expired: Callable[[int, int], bool], max_bytes: int) -> int:
        return self._log.droppable(project, upto, expired, max_bytes)

    def _trimmed(self, channel: Channel) -> None:
        self._log.trim(channel.project, channel.journal.trimmed)
