"""The event bus: publish, follow, wait, list. Publishing appends to the log; readers are nudged to look again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from cco_sidecar.bus import scans
from cco_sidecar.bus.group import Group, Interest, Route, Slice
from cco_sidecar.bus.journal import Entry, Journal, Position
from cco_sidecar.bus.reader import BATCH_BYTES, Batch, Reader
from cco_sidecar.bus.rounds import Rounds
from cco_sidecar.bus.scans import Scans
from cco_sidecar.core.clock import Clock, timestamp
from cco_sidecar.core.errors import invalid_event, unavailable
from cco_sidecar.storage.eventlog import EventLog, Record
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_EVENT_BYTES = 256 * 1024
DEFAULT_TTL = 86_400
_BATCH_EVENTS = 512
# Trimming moves what is retained; it is done for so many at once.
_TRIM_STRIDE = 256
_GROUP_LINGER = 60.0
_HOUSEKEEPING = 30.0
# Idle streams are sent their cursor, so that a reconnect does not start from a trimmed one.
_HEARTBEAT = 15.0


class Published(NamedTuple):
    event: Event
    subscribers: list[str]


@dataclass(slots=True)
class Counters:
    published: int = 0
    delivered: int = 0
    deliveries: int = 0
    delivery_seconds: float = 0.0


@dataclass(slots=True)
class _Pending:
    record: Record
    event: Event
    urgent: bool
    done: asyncio.Future[Published]


@dataclass(slots=True)
class _Channel:
    """A project's journal and its groups."""

    journal: Journal
    next_seq: int
    groups: dict[Interest, Group] = field(default_factory=dict)
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)


class EventBus:
    """One a process, on one event loop. ``retention`` is seconds; ``max_bytes`` bounds a project's memory."""

    def __init__(
        self,
        event_log: EventLog,
        clock: Clock,
        *,
        retention_seconds: int = 86_400,
        max_events: int = 10_000,
        max_bytes: int = 256 * 2**20,
    ) -> None:
        self._log = event_log
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._retention = retention_seconds * 1_000_000
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._stride = min(_TRIM_STRIDE, max(1, max_events // 10))
        self._rounds = Rounds()
        self._scans = Scans()
        self._channels: dict[str, _Channel] = {}
        self._pending: list[_Pending] = []
        self._in_flight = 0
        self._writing = False
        self._kicked = False
        self._draining = False
        self._drained = asyncio.Event()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.counters = Counters()
        self.failing = False
        # Told of every event that is on disk, at once; they do not wait and do not fail.
        self.listeners: list[Callable[[str, Entry], None]] = []
        self._reading: Counter[str] = Counter()
        for project in event_log.projects():
            self._channel(project)
        self._housekeeper = self._loop.call_later(_HOUSEKEEPING, self._housekeep)

    # -- publishing --------------------------------------------------------------------------------------

    async def publish(self, project: str, event: Event, *, ttl: int = DEFAULT_TTL, urgent: bool = False) -> Published:
        """Completes ``event`` with its id and time; returns once it is on disk.

        Raises SidecarError: EVT_002 when it is too large, EVT_001 when it could not be written.
        """
        return await self.submit(project, event, ttl=ttl, urgent=urgent)

    def submit(
        self, project: str, event: Event, *, ttl: int = DEFAULT_TTL, urgent: bool = False
    ) -> asyncio.Future[Published]:
        """``publish`` without waiting: for several events in one group commit."""
        if self._closed:
            raise unavailable("EVT_001", "the sidecar is shutting down; publish again after it is back")
        channel = self._channel(project)
        micros = self._clock.micros()
        seq = channel.next_seq
        event.event_id = channel.journal.cursor(seq)
        event.timestamp.CopyFrom(timestamp(micros))
        self.check_size(event)
        payload = event.SerializeToString()
        channel.next_seq += 1
        done: asyncio.Future[Published] = self._loop.create_future()
        self._pending.append(_Pending(Record(project, seq, micros, ttl, payload), event, urgent, done))
        self._idle.clear()
        if not self._kicked and not self._writing:
            self._kicked = True
            self._loop.call_soon(self._kick)
        return done

    def check_size(self, event: Event) -> None:
        """Raises SidecarError (EVT_002) for an event that is too large."""
        if event.ByteSize() > MAX_EVENT_BYTES:
            raise invalid_event(
                f"the event has {event.ByteSize()} bytes; the most is {MAX_EVENT_BYTES}. "
                "Store large data as a result's artifact and publish its id",
                field="data",
            )

    def _kick(self) -> None:
        """Hands all that is pending to the idle writer, in one batch."""
        self._kicked = False
        if self._writing or not self._pending:
            return
        batch, self._pending = self._pending, []
        self._writing = True
        self._in_flight = len(batch)
        loop = self._loop

        def done(problem: Exception | None) -> None:
            loop.call_soon_threadsafe(self._committed, batch, problem)

        self._log.append([item.record for item in batch], done)

    def _committed(self, batch: list[_Pending], problem: Exception | None) -> None:
        self._writing = False
        self._in_flight = 0
        self.failing = problem is not None
        if problem is not None:
            for item in batch:
                if not item.done.done():
                    error = unavailable("EVT_001", "the event could not be written to disk; try again")
                    error.__cause__ = problem
                    item.done.set_exception(error)
        else:
            now = self._loop.time()
            for item in batch:
                subscribers = self._deliver(item, now)
                if not item.done.done():
                    item.done.set_result(Published(item.event, subscribers))
            self._rounds.schedule(urgent=any(item.urgent for item in batch))
        if self._pending:
            self._kick()
        else:
            self._idle.set()

    def _deliver(self, item: _Pending, now: float) -> list[str]:
        """Appends a committed event to the journal and to the groups that match; returns the readers' names."""
        channel = self._channels[item.record.project]
        record = item.record
        arrived = self._clock.steady_micros()
        entry = Entry(record.seq, item.event, record.payload, arrived, record.ttl)
        entry.committed_at = now
        channel.journal.add(entry, record.micros, arrived)
        self.counters.published += 1
        if channel.journal.overflows(self._stride):
            self._trim(record.project, channel)
        route_key = (entry.topic, entry.event_type)
        route = channel.routes.get(route_key)
        if route is None:
            route = channel.routes[route_key] = Route.build(channel.groups.values(), *route_key)
        for listen in self.listeners:
            listen(record.project, entry)
        names: set[str] = set()
        for group in route.groups(entry):
            group.add(entry)
            self._rounds.mark(group, record.seq)
            names.update(group.readers.values())
        return sorted(names)

    # -- reading -------------------------------------------------------------------------------------------

    async def follow(
        self, project: str, interest: Interest, start: Position, name: str, since: str = ""
    ) -> AsyncIterator[Batch]:
        """Batches for as long as the bus is open. The first says where the stream starts, before anything has
        happened; the last, when the bus closes, where it ended."""
        channel = self._channel(project)
        reader = self._join(channel, interest, start, name, since)
        try:
            yield self._handed(reader, Slice((), reader.seq))
            ended = False
            while not ended:
                batch = await self._read(channel, reader, name, _BATCH_EVENTS, self._loop.time() + _HEARTBEAT)
                yield batch
                ended = self._draining and not batch.entries
        finally:
            self._leave(channel, reader)

    async def wait(
        self,
        project: str,
        interest: Interest,
        start: Position,
        name: str,
        *,
        timeout: float,
        limit: int,
        since: str = "",
    ) -> Batch:
        """The first batch, or an empty one after ``timeout`` seconds or when the bus closes."""
        channel = self._channel(project)
        reader = self._join(channel, interest, start, name, since)
        try:
            return await self._read(channel, reader, name, limit, self._loop.time() + timeout)
        finally:
            self._leave(channel, reader)

    def start_of(self, project: str, since: str, since_micros: int | None) -> Position:
        """Where a reader starts: at a cursor, a time, or now. Raises SidecarError (EVT_002)."""
        journal = self._channel(project).journal
        if since:
            return journal.position(since)
        if since_micros is not None:
            return journal.position_at(since_micros)
        return Position(journal.head)

    async def select(
        self, project: str, start: Position | None, limit: int, keep: Callable[[Entry], bool], caller: str
    ) -> tuple[list[Entry], bool]:
        """Up to ``limit`` retained entries after ``start``, oldest first, or the newest when it is None, in a page
        of bounded size; and whether there are more after them. Long scans let others run."""
        return await self._scans.run(caller, self._scan(self._channel(project).journal, start, limit, keep))

    def _scan(
        self, journal: Journal, start: Position | None, limit: int, keep: Callable[[Entry], bool]
    ) -> Generator[None, None, tuple[list[Entry], bool]]:
        now = self._clock.steady_micros()
        found: list[Entry] = []
        size = 0
        seq = journal.head + 1 if start is None else start.seq
        few = min(scans.ENTRIES, 2 * limit + 16)
        pause = time.monotonic() + scans.SECONDS
        while piece := journal.before(seq, few) if start is None else journal.after(seq, journal.head)[: scans.ENTRIES]:
            for entry in piece:
                if time.monotonic() > pause:
                    yield
                    pause = time.monotonic() + scans.SECONDS
                if entry.expires <= now or not keep(entry):
                    continue
                if len(found) == limit or (found and size + len(entry.frame) > BATCH_BYTES):
                    return (found[::-1], False) if start is None else (found, True)
                found.append(entry)
                size += len(entry.frame)
            if start is None and len(found) == limit:
                break
            seq = piece[-1].seq
            few = scans.ENTRIES
        return (found[::-1] if start is None else found), False

    def entries_after(self, project: str, seq: int) -> list[Entry]:
        """Everything retained after a sequence number."""
        journal = self._channel(project).journal
        return journal.after(seq, journal.head)

    def trimmed(self, project: str) -> int:
        """The sequence number of the newest event that is no longer retained; 0 when all are."""
        return self._channel(project).journal.trimmed

    def event_of_result(self, project: str, result_id: str) -> str:
        """The id of the retained event that a result's publication made; empty when there is none."""
        for entry in self.newest_entries(project):
            if entry.correlation_id == result_id and entry.text("result_id") == result_id:
                return entry.event_id
        return ""

    def came_out(self, project: str, event_type: str, correlation_id: str) -> bool:
        """A retained event of this type has this correlation id: a crash may have kept the record from knowing it."""
        return any(
            entry.event_type == event_type and entry.correlation_id == correlation_id
            for entry in self.newest_entries(project)
        )

    def newest_entries(self, project: str) -> Iterator[Entry]:
        """Everything retained, newest first."""
        return self._channel(project).journal.newest_first()

    def projects(self) -> list[str]:
        """Those that have or had events."""
        return list(self._channels)

    def head(self, project: str) -> int:
        """The sequence number of the newest event."""
        return self._channel(project).journal.head

    def has_reader(self, name: str) -> bool:
        """Somebody of that name waits for events just now."""
        return self._reading[name] > 0

    def cursor(self, project: str, seq: int) -> str:
        return self._channel(project).journal.cursor(seq)

    def _join(self, channel: _Channel, interest: Interest, start: Position, name: str, since: str) -> Reader:
        journal = channel.journal
        group = channel.groups.get(interest)
        if group is None:
            group = channel.groups[interest] = Group(interest, journal.head)
            channel.routes.clear()
        group.limit = max(group.limit, journal.head)
        reader = Reader(journal, group, start, since, self._clock)
        group.readers[reader] = name
        self._reading[name] += 1
        return reader

    def _leave(self, channel: _Channel, reader: Reader) -> None:
        name = reader.group.readers.pop(reader)
        self._reading[name] -= 1
        if not self._reading[name]:
            del self._reading[name]
        if not reader.group.readers:
            reader.group.idle_since = self._loop.time()

    async def _read(self, channel: _Channel, reader: Reader, name: str, limit: int, deadline: float) -> Batch:
        while True:
            if reader.in_the_past:
                async with self._scans.slice(name):
                    piece = reader.next(limit)
            else:
                piece = reader.next(limit)
            if piece is None:
                continue
            if piece.entries or reader.gap is not None:
                return self._handed(reader, piece)
            left = deadline - self._loop.time()
            if left <= 0 or self._draining:
                # What came since the last round counts as arrived.
                if reader.group.limit < channel.journal.head:
                    reader.group.limit = channel.journal.head
                    continue
                reader.seq = channel.journal.head
                return self._handed(reader, Slice((), reader.seq))
            await self._nudge(reader.group, left)

    async def _nudge(self, group: Group, timeout: float) -> None:
        waiter = self._loop.create_future()
        group.waiters.append(waiter)
        timer = self._loop.call_later(timeout, _resolve, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            if waiter in group.waiters:
                group.waiters.remove(waiter)

    def _handed(self, reader: Reader, piece: Slice) -> Batch:
        """Counts a delivery and makes the batch."""
        if piece.entries:
            counters = self.counters
            counters.delivered += len(piece.entries)
            committed = piece.entries[-1].committed_at
            if committed:
                counters.deliveries += 1
                counters.delivery_seconds += self._loop.time() - committed
        return reader.batch(piece)

    # -- state -------------------------------------------------------------------------------------------

    @property
    def queue_depth(self) -> int:
        """Events accepted and not yet on disk."""
        return len(self._pending) + self._in_flight

    @property
    def subscriptions(self) -> int:
        return sum(len(g.readers) for channel in self._channels.values() for g in channel.groups.values())

    async def look_again(self) -> None:
        """After a failed write: whether events can be written by now, also when nobody publishes."""
        if self.failing:
            with suppress(OSError):
                await asyncio.to_thread(self._log.probe)
                self.failing = False

    @property
    def draining(self) -> bool:
        return self._draining

    async def unless_draining(self, work: Awaitable[T]) -> T | None:
        """What ``work`` gives, or None when the bus begins to drain first."""
        task = asyncio.ensure_future(work)
        drained = asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait({task, drained}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            drained.cancel()
            task.cancel()

    def stop_readers(self) -> None:
        """Answers every parked reader with its cursor; new ones are answered at once."""
        self._draining = True
        self._drained.set()
        for channel in self._channels.values():
            for group in channel.groups.values():
                for waiter in group.waiters:
                    _resolve(waiter)

    async def close(self) -> None:
        """Waits until all that was accepted is on disk."""
        self._closed = True
        self.stop_readers()
        await self._idle.wait()
        self._housekeeper.cancel()
        self._rounds.close()

    def _channel(self, project: str) -> _Channel:
        channel = self._channels.get(project)
        if channel is None:
            epoch, head, records = self._log.open(project)
            journal = Journal(epoch, self._max_events, self._max_bytes, self._retention)
            for record in records:
                journal.restore(record)
            if not records:
                journal.trimmed = head
            journal.head = max(journal.head, head)
            channel = self._channels[project] = _Channel(journal, journal.head + 1)
            self._trim(project, channel)
        return channel

    def _trim(self, project: str, channel: _Channel) -> None:
        if channel.journal.trim(self._clock.steady_micros()):
            for group in channel.groups.values():
                group.trim(channel.journal.trimmed)
            self._log.trim(project, channel.journal.trimmed)

    def _housekeep(self) -> None:
        now = self._loop.time()
        for project, channel in self._channels.items():
            self._trim(project, channel)
            idle = [
                interest
                for interest, group in channel.groups.items()
                if not group.readers and now - group.idle_since > _GROUP_LINGER
            ]
            for interest in idle:
                del channel.groups[interest]
            if idle:
                channel.routes.clear()
        self._housekeeper = self._loop.call_later(_HOUSEKEEPING, self._housekeep)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
