"""The event bus on NATS JetStream: publishing appends to a stream, which every sidecar follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from nats.js.errors import APIError

from cco_sidecar.bus.base import FROM_OLDEST, Batch, Outgoing, Position, Published, SubscriptionKey
from cco_sidecar.bus.commits import check_size
from cco_sidecar.bus.entry import Entry, identified
from cco_sidecar.bus.history import History
from cco_sidecar.bus.jetstream import messages
from cco_sidecar.bus.jetstream.connection import FAILURES, Connection, away
from cco_sidecar.bus.jetstream.discovery import Discovery
from cco_sidecar.bus.jetstream.follower import Follower
from cco_sidecar.bus.jetstream.link import Link
from cco_sidecar.bus.jetstream.publishing import DUPLICATE_IN_BATCH, MAX_BATCH, WRONG_LAST, Publisher, Sent, fail
from cco_sidecar.bus.jetstream.servers import warn
from cco_sidecar.bus.jetstream.stored import StoredEvents
from cco_sidecar.bus.jetstream.streams import Streams
from cco_sidecar.bus.jetstream.telling import Telling
from cco_sidecar.bus.journal import Journal
from cco_sidecar.bus.journaled import Channel, JournaledBus
from cco_sidecar.bus.publishing import check_together, not_the_newest
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import Kind, SidecarError, invalid_event, unavailable
from cco_sidecar.core.metrics import Histogram
from cco_sidecar.core.settings import Settings
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

# What may wait for NATS. Publishers are told before memory grows.
_MAX_WAITING_BYTES = 64 * 2**20
# How long a stored message may take to come back.
_RETURN_SECONDS = 10.0
_TRIM_SECONDS = 15.0


class JetStreamBus(JournaledBus):
    """An EventBus that shares its events with those of other sidecars."""

    def __init__(self, clock: Clock, settings: Settings) -> None:
        super().__init__(clock, settings, Histogram())
        self._connection = Connection(settings)
        self._streams = Streams(self._connection, settings)
        self._publisher = Publisher(self._connection, self._streams)
        self._discovery = Discovery(self._connection, self._streams, self._channel)
        self._telling = Telling(self._connection, settings.bus_prefix)
        self._monitor_urls = settings.bus_monitor_urls
        self._links: dict[str, Link] = {}
        self._sent: dict[str, Sent] = {}  # by the call in their headers
        self._waiting_bytes = 0
        self._started = self._closed = False
        self._publishing = Background()
        self._background = Background()

    async def start(self) -> None:
        """Connects, and follows the stream of every project. Raises SidecarError (STR_002)."""
        await self._connection.open()
        await self._telling.start()
        await self._discovery.start()
        self._started = True
        self._background.start(self._keep_trimming(), "size of streams")
        self._background.start(warn(self._monitor_urls), "servers of NATS")

    # -- publishing ----------------------------------------------------------------------------------------

    async def publish(self, outgoing: Outgoing) -> Published:
        channel = await self._channel_for(outgoing)
        self._check(channel, outgoing)
        sent: list[Sent] = []
        published = self._submit(channel, outgoing, sent)
        self._send(channel, sent)
        return await asyncio.shield(published)

    async def publish_all(self, outgoing: Sequence[Outgoing]) -> list[Published]:
        channels = [await self._channel_for(each) for each in outgoing]
        check_together(outgoing)
        for number, (channel, each) in enumerate(zip(channels, outgoing, strict=True)):
            try:
                self._check(channel, each)
            except SidecarError as problem:
                raise problem.within(f"events[{number}]") from problem
        await self._check_conditions(outgoing)
        sent: dict[str, list[Sent]] = {}
        results = [
            self._submit(channel, each, sent.setdefault(each.project, []))
            for channel, each in zip(channels, outgoing, strict=True)
        ]
        for project, together in sent.items():
            self._send(self._channels[project], together)
        return await asyncio.gather(*(asyncio.shield(each) for each in results))

    async def _check_conditions(self, outgoing: Sequence[Outgoing]) -> None:
        """The stream checks them too, but one for each topic, and each project alone. Raises SidecarError (EVT_003)."""
        if len(outgoing) > MAX_BATCH:
            raise invalid_event(f"at most {MAX_BATCH:,} events can be published together, not {len(outgoing):,}")
        wanted = {(each.project, each.event.topic, each.expected_last) for each in outgoing if each.expected_last}
        if len(wanted) > 1 or (wanted and len({each.project for each in outgoing}) > 1):
            for project, topic, expected in wanted:
                newest = await self._newest_of(self._channels[project], topic)
                if newest != expected:
                    raise not_the_newest(topic, newest, expected)

    def _check(self, channel: Channel, outgoing: Outgoing) -> None:
        """Raises SidecarError if the event is not to be published."""
        event = outgoing.event
        check_size(event)
        if self._waiting_bytes > _MAX_WAITING_BYTES:
            text = f"{len(self._sent):,} events wait for NATS, more than may wait; publish again in a second"
            raise SidecarError(Kind.RATE_LIMITED, "EVT_004", text, retry_after_seconds=1)
        if event.idempotency_key:
            channel.keys.check(event, self._clock.steady_micros())
        expected = outgoing.expected_last
        if expected and expected != FROM_OLDEST and not channel.keys.knows(event):
            epoch, _ = channel.journal.parsed(expected, "expected_last_event_id")
            if epoch != channel.journal.epoch:
                raise not_the_newest(event.topic, channel.journal.newest_of(event.topic), expected)

    def _submit(self, channel: Channel, outgoing: Outgoing, sent: list[Sent]) -> asyncio.Future[Published]:
        """Adds the event to those that are sent together, unless one with its key is known."""

        def submit(each: Outgoing) -> asyncio.Future[Published]:
            item = Sent(each, self._loop.create_future(), payload=messages.payload_of(each.event))
            sent.append(item)
            return item.published

        if outgoing.event.idempotency_key:
            return channel.keys.publish(outgoing, self._clock.steady_micros(), submit)
        return submit(outgoing)

    def _send(self, channel: Channel, sent: list[Sent]) -> None:
        if not sent:
            return
        for each in sent:
            self._sent[each.call] = each
            self._waiting_bytes += len(each.payload)
            each.published.add_done_callback(partial(self._settled, each))
        # In the order of the calls: tasks start in order, and a message is written before anything is awaited.
        self._publishing.start(self._store(channel, sent), "publishing")

    def _settled(self, sent: Sent, published: asyncio.Future[Published]) -> None:
        self._sent.pop(sent.call, None)
        self._waiting_bytes -= len(sent.payload)
        if not published.cancelled():
            # The caller may be gone.
            published.exception()

    async def _store(self, channel: Channel, sent: list[Sent]) -> None:
        """Publishes messages, and settles what their callers wait for."""
        try:
            while waiting := [each for each in sent if not each.published.done()]:
                try:
                    duplicate_of = await self._publisher.send(waiting)
                except APIError as problem:
                    await self._refused(channel, waiting, problem)
                    continue
                if duplicate_of:
                    await self._repeated(channel, waiting[0], duplicate_of)
                async with asyncio.timeout(_RETURN_SECONDS):
                    await asyncio.wait([each.published for each in waiting])
        except TimeoutError:
            log.warning("events are stored, but the stream of %s does not bring them back", channel.project)
            fail(sent, unavailable("STR_001", "the event is stored, but NATS does not deliver it; it will appear"))
        except SidecarError as problem:
            fail(sent, problem)
        except Exception as problem:
            fail(sent, SidecarError(Kind.INTERNAL, "STR_001", "the event could not be stored"))
            log.exception("publishing failed", exc_info=problem)

    async def _repeated(self, channel: Channel, sent: Sent, seq: int) -> None:
        """Settles a message that the stream had already: by its key, or by an attempt whose answer was lost."""
        await self._catch_up(channel)
        first = None if sent.published.done() else await channel.history.find(seq)
        if first is not None:
            channel.keys.saw(first.event, first.arrived)
        if not sent.published.done():
            # It is no longer retained.
            event_id = channel.journal.cursor(seq)
            sent.published.set_result(Published(event_id, self._clock.timestamp(), [], duplicate=True))

    async def _refused(self, channel: Channel, sent: list[Sent], problem: APIError) -> None:
        """Settles messages that the stream refused; some may have been stored by an earlier attempt, or another
        sidecar. Raises SidecarError."""
        await self._catch_up(channel)
        waiting = [each for each in sent if not each.published.done()]
        if problem.err_code == DUPLICATE_IN_BATCH:
            if len(waiting) == len(sent):
                # By a key that is not known here. One by one, the stream says which; the others are no longer all or
                # none with it.
                for each in waiting:
                    await self._store(channel, [each])
            return
        if problem.err_code in WRONG_LAST:
            for each in waiting:
                if each.outgoing.expected_last:
                    topic = each.outgoing.event.topic
                    newest = await self._newest_of(channel, topic)
                    fail(sent, not_the_newest(topic, newest, each.outgoing.expected_last))
                    return
        if waiting:
            text = f"NATS refuses the event: {problem.description} ({problem.err_code})"
            raise SidecarError(Kind.INTERNAL, "STR_001", text)

    async def _newest_of(self, channel: Channel, topic: str) -> str:
        try:
            seq = await self._links[channel.project].stored.newest_of(topic)
        except OSError as problem:
            raise away(problem) from problem
        return channel.journal.cursor(seq) if seq else FROM_OLDEST

    def _arrived(self, project: str, seq: int, micros: int, headers: Mapping[str, str], payload: bytes) -> None:
        """Takes the next message of a stream."""
        link = self._links[project]
        channel, journal = link.channel, link.channel.journal
        if seq <= journal.head:
            return
        if seq > journal.head + 1:
            link.lose(seq - 1)
        link.stream.last = max(link.stream.last, seq)
        record = messages.record_of(project, seq, micros, headers, payload)
        now = self._clock.steady_micros()
        event = Event.FromString(record.payload)
        event.event_id = journal.cursor(seq)
        # One that was copied here is as old as it was there.
        arrived = link.arrived(now, micros) - (micros - record.micros)
        entry = Entry(seq, event, identified(record.payload, event.event_id), arrived, record.ttl)
        entry.message = event
        names = self._arrive(channel, entry, record.micros)
        sent = self._sent.get(headers.get(messages.CALL, ""))
        if sent is not None:
            self.counters.published += 1
            sent.outgoing.event.event_id = event.event_id
            sent.outgoing.event.timestamp.CopyFrom(event.timestamp)
            if not sent.published.done():
                sent.published.set_result(Published(event.event_id, event.timestamp, names))
        elif event.idempotency_key:
            channel.keys.saw(event, entry.arrived)
        link.tell()
        self._flush.schedule(urgent=sent is not None and sent.outgoing.urgent)

    # -- reading -------------------------------------------------------------------------------------------

    async def start_of(self, project: str, since: str, since_micros: int | None) -> Position:
        channel = await self._channel(project)
        if since and since != FROM_OLDEST:
            epoch, seq = channel.journal.parsed(since, "since")
            if epoch == channel.journal.epoch and seq > channel.journal.head:
                # Another sidecar gave it out.
                await self._catch_up(channel)
        elif not since:
            await self._catch_up(channel)
        return await super().start_of(project, since, since_micros)

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
        if timeout <= 0:
            # What is there now, whichever sidecar stored it.
            await self._catch_up(await self._channel(project))
        return await super().wait(project, key, start, name, timeout=timeout, limit=limit, since=since)

    async def select(
        self,
        project: str,
        start: Position | None,
        limit: int,
        keep: Callable[[Entry], bool],
        caller: str,
        end: Position | None = None,
    ) -> tuple[list[Entry], bool]:
        await self._catch_up(await self._channel(project))
        return await super().select(project, start, limit, keep, caller, end)

    async def find(self, project: str, event_id: str) -> Entry | None:
        await self._catch_up(await self._channel(project))
        return await super().find(project, event_id)

    async def is_published(self, project: str, event: Event) -> bool:
        await self._catch_up(await self._channel(project))
        return await super().is_published(project, event)

    async def _catch_up(self, channel: Channel) -> None:
        """Waits until what is stored now has arrived. Raises SidecarError (STR_002)."""
        link = self._links[channel.project]
        try:
            await self._streams.refresh(link.stream)
            wanted = link.stream.last
            if link.stream.first > wanted > channel.journal.head:
                # Nothing is left that could arrive.
                link.lose(wanted)
            async with asyncio.timeout(_RETURN_SECONDS):
                while channel.journal.head < wanted:
                    await link.moved.wait()
        except FAILURES as problem:
            raise away(problem) from problem

    # -- streams -------------------------------------------------------------------------------------------

    async def _open(self, project: str) -> Channel:
        try:
            stream = await self._streams.open(project)
        except FAILURES as problem:
            raise away(problem) from problem
        # Whoever listens hears all events of a stream that was created since the start.
        head = stream.first - 1 if self._started else stream.last
        journal = Journal.at(stream.epoch, self._limits, head=head, trimmed=stream.first - 1)
        trimmed = partial(self._trim_now, project)
        stored = StoredEvents(self._connection, self._streams, project, stream, trimmed)
        channel = Channel(project, journal, History(stored, project, journal))
        follower = Follower(self._connection, stream.name, head, partial(self._arrived, project))
        self._links[project] = Link(channel, stream, stored, follower)
        self._background.start(follower.run(), f"stream of {project}")
        return channel

    async def _channel_for(self, outgoing: Outgoing) -> Channel:
        if self._closed:
            raise unavailable("EVT_001", "the sidecar is shutting down; retry after it has restarted")
        channel = await self._channel(outgoing.project)
        if outgoing.event.idempotency_key:
            await channel.history.learn_keys(channel.keys, self._clock.steady_micros())
        return channel

    async def _keep_trimming(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_SECONDS)
            for link in list(self._links.values()):
                with suppress(*FAILURES):
                    await self._streams.trim(link.stream)
                if link.stream.lost:
                    log.error("%s was deleted or restored: restart all sidecars that use it", link.stream.name)

    def _droppable(self, project: str, upto: int, expired: Callable[[int, int], bool], max_bytes: int) -> int:
        """The stream has the same limits, and drops by itself."""
        return self._links[project].stream.first - 1

    # -- other sidecars ------------------------------------------------------------------------------------

    def tell(self, what: str, message: bytes) -> None:
        self._telling.tell(what, message)

    def hear(self, what: str, listener: Callable[[bytes], None]) -> None:
        self._telling.hear(what, listener)

    # -- state ---------------------------------------------------------------------------------------------

    @property
    def failing(self) -> bool:
        lost = any(link.stream.lost for link in self._links.values())
        return lost or self._publisher.failing or not self._connection.connected

    @property
    def queue_depth(self) -> int:
        return len(self._sent)

    async def probe(self) -> None:
        if self._publisher.failing:
            with suppress(*FAILURES):
                await self._connection.jetstream.account_info()
                self._publisher.failing = False

    async def close(self) -> None:
        self.stop_readers()
        self._closed = True
        await self._publishing.drain()
        await super().close()

    async def release(self) -> None:
        await asyncio.gather(self._background.end(), self._discovery.end(), self._telling.end())
        await self._connection.close()
