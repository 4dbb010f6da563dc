"""The reading half of a bus: journals, subscriptions and readers, whoever stores the events."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cco_sidecar.bus.base import Batch, Counters, Page, Position, SubscriptionKey
from cco_sidecar.bus.delivery import BATCH_EVENTS, HEARTBEAT_SECONDS, Delivery
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.flush import FlushScheduler
from cco_sidecar.bus.follow import Follow
from cco_sidecar.bus.history import History
from cco_sidecar.bus.idempotency import Keys
from cco_sidecar.bus.journal import Journal, Limits
from cco_sidecar.bus.reader import Reader
from cco_sidecar.bus.scans import Scans
from cco_sidecar.bus.selection import Selection
from cco_sidecar.bus.subscription import Slice, Subscription, SubscriptionIndex
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore
from cco_sidecar.core.metrics import Histogram
from cco_sidecar.core.settings import Settings
from orchestra.v1.event_service_pb2 import Event

T = TypeVar("T")

# Trimming copies the retained entries, so it runs once per this many surplus events.
_TRIM_STRIDE = 256
_SUBSCRIPTION_LINGER = 60.0
_HOUSEKEEPING = 30.0
# Looks for readers whose time is up; a timer for each wait would cost more than the wait.
_BEAT = 1.0


@dataclass(slots=True)
class Channel:
    """A project's events and its subscriptions, and the idempotency keys of its latest events."""

    project: str
    journal: Journal
    history: History
    keys: Keys = field(default_factory=Keys)
    subscriptions: dict[SubscriptionKey, Subscription] = field(default_factory=dict)
    indexes: dict[tuple[str, str], SubscriptionIndex] = field(default_factory=dict)


class JournaledBus(ABC):
    """What all buses share: a subclass opens channels, stores events, and has each ``arrive`` in order. Not
    thread-safe: use it on one event loop."""

    def __init__(self, clock: Clock, settings: Settings, syncs: Histogram) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._limits = Limits(
            settings.max_events,
            settings.event_disk_mb * 2**20,
            settings.event_retention * 1_000_000,
            settings.event_memory_mb * 2**20,
        )
        self._stride = min(_TRIM_STRIDE, max(1, settings.max_events // 10))
        self.counters = Counters(syncs=syncs)
        self._delivery = Delivery(self.counters)
        self._flush = FlushScheduler(self._delivery.hand_out)
        self._scans = Scans()
        self._channels: dict[str, Channel] = {}
        self._drained = asyncio.Event()
        self._listeners: list[Callable[[str, Entry], None]] = []
        self._reading: Counter[str] = Counter()
        self._opening = KeyedSemaphore[str]()
        self._housekeeping = self._loop.call_later(_HOUSEKEEPING, self._housekeep)
        self._beating = self._loop.call_later(_BEAT, self._beat)

    # -- what the subclass does ----------------------------------------------------------------------------

    @abstractmethod
    async def _open(self, project: str) -> Channel:
        """Opens what is stored of a project. Raises SidecarError."""

    @abstractmethod
    def _droppable(self, project: str, upto: int, expired: Callable[[int, int], bool], max_bytes: int) -> int:
        """See EventLog.droppable."""

    def _trimmed(self, channel: Channel) -> None:
        """Called when events of a channel are no longer retained."""
        return

    # -- delivery ------------------------------------------------------------------------------------------

    def _arrive(self, channel: Channel, entry: Entry, micros: int) -> list[str]:
        """Appends a stored event to the journal and to the subscriptions that match; returns the readers' names."""
        entry.committed_at = self._loop.time()
        channel.journal.add(entry, micros)
        if channel.journal.overflows(self._stride):
            self._trim(channel)
        index_key = (entry.topic, entry.event_type)
        index = channel.indexes.get(index_key)
        if index is None:
            index = channel.indexes[index_key] = SubscriptionIndex.build(channel.subscriptions.values(), *index_key)
        for listen in self._listeners:
            listen(channel.project, entry)
        found = index.subscriptions(entry)
        entry.message = None
        for subscription in found:
            subscription.add(entry)
            self._flush.mark(subscription, entry.seq)
        if len(found) == 1:
            return found[0].names
        return sorted({name for subscription in found for name in subscription.names})

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

    def _join(self, channel: Channel, key: SubscriptionKey, start: Position, name: str, since: str) -> Reader:
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

    def _leave(self, channel: Channel, reader: Reader) -> None:
        name = reader.subscription.leave(reader)
        self._reading[name] -= 1
        if not self._reading[name]:
            del self._reading[name]
        if not reader.subscription.readers:
            reader.subscription.idle_since = self._loop.time()

    async def _read(self, channel: Channel, reader: Reader, name: str, limit: int, deadline: float) -> Batch:
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
    def subscriptions(self) -> int:
        return sum(len(g.readers) for channel in self._channels.values() for g in channel.subscriptions.values())

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
        self._housekeeping.cancel()
        self._beating.cancel()
        self._flush.close()

    async def _channel(self, project: str) -> Channel:
        channel = self._channels.get(project)
        if channel is not None:
            return channel
        async with self._opening.hold(project):
            if project not in self._channels:
                self._channels[project] = await self._open(project)
                self._trim(self._channels[project])
        return self._channels[project]

    def _trim_now(self, project: str) -> None:
        if project in self._channels:
            self._trim(self._channels[project])

    def _trim(self, channel: Channel) -> None:
        def droppable(upto: int, expired: Callable[[int, int], bool], max_bytes: int) -> int:
            return self._droppable(channel.project, upto, expired, max_bytes)

        if channel.journal.trim(self._clock.steady_micros(), droppable):
            for subscription in channel.subscriptions.values():
                subscription.forget(channel.journal.floor)
            self._trimmed(channel)

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
        for channel in self._channels.values():
            self._trim(channel)
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
