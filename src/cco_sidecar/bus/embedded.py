"""The event bus of one process: publishing appends to the log and wakes the readers."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from cco_sidecar.bus.base import (
    Batch,
    Counters,
    Outgoing,
    Page,
    Position,
    Published,
    SubscriptionKey,
)
from cco_sidecar.bus.commits import GroupCommit, Pending
from cco_sidecar.bus.delivery import BATCH_EVENTS, HEARTBEAT_SECONDS, Delivery
from cco_sidecar.bus.entry import Entry, identified
from cco_sidecar.bus.flush import FlushScheduler
from cco_sidecar.bus.follow import Follow
from cco_sidecar.bus.history import History
from cco_sidecar.bus.idempotency import WINDOW_MICROS, Keys
from cco_sidecar.bus.journal import Journal, Limits
from cco_sidecar.bus.publishing import Publishing
from cco_sidecar.bus.reader import Reader
from cco_sidecar.bus.scans import Scans
from cco_sidecar.bus.selection import Selection
from cco_sidecar.bus.subscription import Slice, Subscription, SubscriptionIndex
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.base import EventLog
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

T = TypeVar("T")

# Trimming copies the retained entries, so it runs once per this many surplus events.
_TRIM_STRIDE = 256
_SUBSCRIPTION_LINGER = 60.0
_HOUSEKEEPING = 30.0
# Looks for readers whose time is up; a timer for each wait would cost more than the wait.
_BEAT = 1.0


@dataclass(slots=True)
class _Channel:
    """A project's events and its subscriptions, and the idempotency keys of its latest events."""

    journal: Journal
    history: History
    keys: Keys = field(default_factory=Keys)
    subscriptions: dict[SubscriptionKey, Subscription] = field(default_factory=dict)
    indexes: dict[tuple[str, str], SubscriptionIndex] = field(default_factory=dict)


class EmbeddedBus:
    """An EventBus on an EventLog that no other process appends to. Not thread-safe: use it on one event loop."""

    def __init__(self, event_log: EventLog, clock: Clock, settings: Settings) -> None:
        self._log = event_log
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._limits = Limits(
            settings.max_events,
            settings.event_disk_mb * 2**20,
            settings.event_retention * 1_000_000,
            settings.event_memory_mb * 2**20,
        )
        self._stride = min(_TRIM_STRIDE, max(1, settings.max_events // 10))
        self.counters = Counters(syncs=event_log.syncs)
        self._delivery = Delivery(self.counters)
        self._flush = FlushScheduler(self._delivery.hand_out)
        self._scans = Scans()
        self._channels: dict[str, _Channel] = {}
        self._commits = GroupCommit(event_log, clock, self._deliver, self._flush_committed)
        self._publishing = Publishing(self._commits, clock)
        self._drained = asyncio.Event()
        self._listeners: list[Callable[[str, Entry], None]] = []
        self._reading: Counter[str] = Counter()
        self._opening = KeyedSemaphore[str]()
        self._housekeeping = self._loop.call_later(_HOUSEKEEPING, self._housekeep)
        self._beating = self._loop.call_later(_BEAT, self._beat)

    # -- publishing --------------------------------------------------------------------------------------

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
        self._publishing.check_all(outgoing)
        for number, (channel, each) in enumerate(zip(channels, outgoing, strict=True)):
            try:
                self._publishing.check(channel.journal, channel.keys, each)
            except SidecarError as problem:
                raise problem.within(f"events[{number}]") from problem
        return await self._publishing.submit_all([channel.keys for channel in channels], outgoing)

    def _deliver(self, item: Pending, seq: int, now: float) -> list[str]:
        """Appends a committed event to the journal and to the subscriptions that match; returns the readers' names."""
        channel = self._channels[item.record.project]
        record = item.record
        arrived = self._clock.steady_micros()
        item.event.event_id = channel.journal.cursor(seq)
        payload = identified(record.payload, item.event.event_id)
        entry = Entry(seq, item.event, payload, arrived, record.ttl)
        entry.committed_at = now
        entry.message = item.event
        channel.journal.add(entry, record.micros)
        self.counters.published += 1
        if channel.journal.overflows(self._stride):
            self._trim(record.project, channel)
        index_key = (entry.topic, entry.event_type)
        index = channel.indexes.get(index_key)
        if index is None:
            index = channel.indexes[index_key] = SubscriptionIndex.build(channel.subscriptions.values(), *index_key)
        for listen in self._listeners:
            listen(record.project, entry)
        found = index.subscriptions(entry)
        entry.message = None
        for subscription in found:
            subscription.add(entry)
            self._flush.mark(subscription, seq)
        if len(found) == 1:
            return found[0].names
        return sorted({name for subscription in found for name in subscription.names})

    def _flush_committed(self, urgent: bool) -> None:
        self._flush.schedule(urgent=urgent)

    # -- reading -------------------------------------------------------------------------------------------

    def follow(self, project: str, key: SubscriptionKey, start: Position, name: str, since: str = "") -> Follow:
        async def join() -> Reader:
            return self._join(await self._channel(project), key, start, name, since)

        async def read(reader: Reader) -> tuple[Batch, bool]:
            deadline = self._loop.time() + HEARTBEAT_SECONDS
            batch = await self._read(self._channels[project], reader, name, BATCH_EVENTS, deadline)
            return batch, self.draining and not batch.entries

        return Follow(join, read, lambda reader: self._leave(self._channels[project], reader))

    async def wait(
        self,
        project: str,
        key: SubscriptionKey,
        start: Position,
        name: str,
        *,
        timeout: float,
        limit: int,
        since: str = "",
    ) -> Batch:
        channel = await self._channel(project)
        reader = self._join(channel, key, start, name, since)
        try:
            deadline = self._loop.time() + timeout
            timer = self._loop.call_at(deadline, reader.wake)
            try:
                return await self._read(channel, reader, name, limit, deadline)
            finally:
                timer.cancel()
        finally:
            self._leave(channel, reader)

    async def start_of(self, project: str, since: str, since_micros: int | None) -> Position:
        channel = await self._channel(project)
        if since:
            return channel.journal.position(since)
        if since_micros is not None:
            return await channel.history.position_at(since_micros)
        return Position(channel.journal.head)

    async def find(self, project: str, event_id: str) -> Entry | None:
        channel = await self._channel(project)
        epoch, seq = channel.journal.parsed(event_id, "event_id")
        return await channel.history.find(seq) if epoch == channel.journal.epoch else None

    async def select(
        self,
        project: str,
        start: Position | None,
        limit: int,
        keep: Callable[[Entry], bool],
        caller: str,
        end: Position | None = None,
    ) -> tuple[list[Entry], bool]:
        channel = await self._channel(project)
        selection = Selection(channel.history, limit, keep, self._clock.steady_micros())
        if start is not None:
            return await selection.after(start.seq, self._scans, caller)
        before = channel.journal.head + 1 if end is None else end.seq
        return await selection.before(before, self._scans, caller), False

    async def read(self, project: str, after: int, limit: int) -> Page:
        channel = await self._channel(project)
        entries = await channel.history.after(after, limit) if limit else ()
        return Page(entries, channel.journal.trimmed, channel.journal.head)

    async def is_published(self, project: str, event: Event) -> bool:
        async for entry in (await self._channel(project)).history.newest_first():
            if (entry.event_type, entry.correlation_id) == (event.event_type, event.correlation_id):
                retained = entry.event
                retained.ClearField("event_id")
                retained.ClearField("timestamp")
                if retained == event:
                    return True
        return False

    async def projects(self) -> list[str]:
        return list(self._channels)

    async def cursor(self, project: str, seq: int) -> str:
        return (await self._channel(project)).journal.cursor(seq)

    def listen(self, listener: Callable[[str, Entry], None]) -> None:
        self._listeners.append(listener)

    def has_reader(self, name: str) -> bool:
        return self._reading[name] > 0

    def _join(self, channel: _Channel, key: SubscriptionKey, start: Position, name: str, since: str) -> Reader:
        journal = channel.journal
        subscription = channel.subscriptions.get(key)
        if subscription is None:
            subscription = channel.subscriptions[key] = Subscription(key, journal.head)
            channel.indexes.clear()
        subscription.limit = max(subscription.limit, journal.head)
        reader = Reader(journal, subscription, start, since, self._clock)
        subscription.join(reader, name)
        self._reading[name] += 1
        return reader

    def _leave(self, channel: _Channel, reader: Reader) -> None:
        name = reader.subscription.leave(reader)
        self._reading[name] -= 1
        if not self._reading[name]:
            del self._reading[name]
        if not reader.subscription.readers:
            reader.subscription.idle_since = self._loop.time()

    async def _read(self, channel: _Channel, reader: Reader, name: str, limit: int, deadline: float) -> Batch:
        while True:
            if reader.in_the_past:
                past = await channel.history.after(reader.seq)
                async with self._scans.slice(name):
                    piece = reader.next_of_the_past(past, limit)
                if piece is None:
                    continue
            else:
                piece = reader.next(limit)
            if piece.entries or reader.gap is not None:
                return self._delivery.batch(reader, piece)
            if self.draining or deadline <= self._loop.time():
                # Include events that arrived since the last flush.
                if reader.subscription.limit < channel.journal.head:
                    reader.subscription.limit = channel.journal.head
                    continue
                reader.seq = channel.journal.head
                return self._delivery.batch(reader, Slice((), reader.seq))
            await reader.until_woken(deadline)
            if reader.held is not None:
                held, reader.held = reader.held, None
                return held

    # -- state -------------------------------------------------------------------------------------------

    @property
    def failing(self) -> bool:
        return self._commits.failing

    @property
    def queue_depth(self) -> int:
        return self._commits.depth

    @property
    def subscriptions(self) -> int:
        return sum(len(g.readers) for channel in self._channels.values() for g in channel.subscriptions.values())

    async def probe(self) -> None:
        if self.failing:
            with suppress(OSError):
                await self._log.probe()
                self._commits.failing = False

    @property
    def draining(self) -> bool:
        return self._delivery.draining

    async def unless_draining(self, work: Awaitable[T]) -> T | None:
        task = asyncio.ensure_future(work)
        drained = asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait({task, drained}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            drained.cancel()
            task.cancel()

    def stop_readers(self) -> None:
        self._delivery.draining = True
        self._drained.set()
        for channel in self._channels.values():
            for subscription in channel.subscriptions.values():
                for reader in subscription.waiters:
                    reader.wake()

    async def close(self) -> None:
        self.stop_readers()
        await self._commits.close()
        self._housekeeping.cancel()
        self._beating.cancel()
        self._flush.close()

    async def _channel(self, project: str) -> _Channel:
        channel = self._channels.get(project)
        if channel is not None:
            return channel
        async with self._opening.hold(project):
            if project in self._channels:
                return self._channels[project]
            opened = await self._log.open(project)
            journal = Journal.restored(opened, self._limits)
            channel = self._channels[project] = _Channel(journal, History(self._log, project, journal))
            oldest = self._clock.steady_micros() - WINDOW_MICROS
            latest = [entry for entry in journal.after(journal.floor, len(opened.records)) if entry.arrived > oldest]
            channel.keys.restore(latest)
            self._trim(project, channel)
        return channel

    async def _channel_for(self, outgoing: Outgoing) -> _Channel:
        """Returns the channel once it knows all that the conditions of a publisher are about."""
        channel = await self._channel(outgoing.project)
        if outgoing.event.idempotency_key:
            await channel.history.learn_keys(channel.keys, self._clock.steady_micros())
        if outgoing.expected_last:
            await channel.history.learn_topic(outgoing.event.topic)
        return channel

    def _trim(self, project: str, channel: _Channel) -> None:
        if channel.journal.trim(self._clock.steady_micros(), partial(self._log.droppable, project)):
            for subscription in channel.subscriptions.values():
                subscription.forget(channel.journal.floor)
            self._log.trim(project, channel.journal.trimmed)

    def _beat(self) -> None:
        """Wakes the readers whose time is up."""
        now = self._loop.time()
        for channel in self._channels.values():
            for subscription in channel.subscriptions.values():
                for reader in subscription.waiters:
                    if reader.deadline <= now:
                        reader.wake()
        self._beating = self._loop.call_later(_BEAT, self._beat)

    def _housekeep(self) -> None:
        now = self._loop.time()
        for project, channel in self._channels.items():
            self._trim(project, channel)
            channel.history.forget_pieces()
            idle = [
                key
                for key, subscription in channel.subscriptions.items()
                if not subscription.readers and now - subscription.idle_since > _SUBSCRIPTION_LINGER
            ]
            for key in idle:
                del channel.subscriptions[key]
            if idle:
                channel.indexes.clear()
        self._housekeeping = self._loop.call_later(_HOUSEKEEPING, self._housekeep)
