"""All consumers of the sidecar."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.bus import filters, quota
from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.consumer import Consumer, unknown_consumer
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock, micros_of
from cco_sidecar.core.errors import SidecarError, conflict, invalid_request, not_found, unavailable
from cco_sidecar.core.principal import OPERATOR, SIDECAR
from cco_sidecar.storage.event_stores import ConsumerStore
from orchestra.v1 import consumer_service_pb2 as pb

log = logging.getLogger(__name__)

DEFAULTS = {
    "ack_wait_seconds": 30,
    "max_deliveries": 5,
    "max_in_flight": 100,
    "retry_seconds": 1.0,
    "unused_seconds": 7 * 86_400,
}
_SWEEP_SECONDS = 60.0


class Consumers:
    """Consumers by project and name. Not thread-safe."""

    def __init__(self, store: ConsumerStore, bus: EventBus, outbox: Outbox, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._outbox = outbox
        self._clock = clock
        self._consumers: dict[str, dict[str, Consumer]] = defaultdict(dict)
        self._changing = asyncio.Lock()
        self._background = Background()

    async def recover(self) -> None:
        """Loads what is stored. Raises SidecarError."""
        for record in await self._store.all():
            consumer = self._consumers[record.project_id][record.name] = self._open(record)
            replayed = [each.dead_letter_id for each in record.in_flight if each.dead_letter_id]
            found = await self._store.letters(record.project_id, record.name, replayed) if replayed else []
            await consumer.restore(found)

    def find(self, project: str, name: str) -> Consumer:
        """Raises SidecarError (CSM_001) if there is none."""
        consumer = self._consumers.get(project, {}).get(name)
        if consumer is None:
            raise unknown_consumer(name)
        return consumer

    def of(self, project: str) -> list[Consumer]:
        """Returns a project's consumers, sorted by name."""
        found = self._consumers.get(project, {})
        return [found[name] for name in sorted(found)]

    def all(self) -> list[Consumer]:
        """Returns the consumers of every project."""
        return [consumer for consumers in self._consumers.values() for consumer in consumers.values()]

    async def create(self, record: pb.Consumer, since: str, since_time: Timestamp | None) -> Consumer:
        """Creates a consumer, or returns the one that has the same settings. Runs to completion even if the caller is
        cancelled. Raises SidecarError: CSM_002 if there is another one of that name, CSM_003 if there are too many,
        EVT_002 for an invalid filter or cursor."""
        return await self._background.finish(self._create(record, since, since_time))

    async def _create(self, record: pb.Consumer, since: str, since_time: Timestamp | None) -> Consumer:
        complete(record.settings)
        async with self._changing:
            known = self._consumers.get(record.project_id, {}).get(record.name)
            if known is not None:
                self._require_same(known.record, record)
                return known
            creators = [each.record.created_by for each in self._consumers[record.project_id].values()]
            quota.check(creators, record.created_by, "consumers", "CSM_003")
            micros = micros_of(since_time) if since_time is not None else None
            start = await self._bus.start_of(record.project_id, since, micros)
            record.cursor = await self._bus.cursor(record.project_id, start.seq)
            record.created_at.CopyFrom(self._clock.timestamp())
            record.used_at.CopyFrom(record.created_at)
            await self._store.add(record)
            consumer = self._consumers[record.project_id][record.name] = self._open(record)
            return consumer

    async def delete(self, project: str, name: str) -> int:
        """Deletes a consumer; returns how many dead letters went with it. Runs to completion even if the caller is
        cancelled. Raises SidecarError (CSM_001, STR_001)."""
        return await self._background.finish(self._delete(project, name))

    async def _delete(self, project: str, name: str) -> int:
        async with self._changing:
            consumer = self.find(project, name)
            deleted = await self._store.delete(project, name)
            consumer.end(unknown_consumer(name))
            del self._consumers[project][name]
            return deleted

    async def position(self, project: str, since: str, since_time: Timestamp | None) -> str:
        """Returns the cursor for a reset. Raises SidecarError (EVT_002, REQ_001)."""
        if since == "$":
            start = await self._bus.start_of(project, "", None)
        elif since or since_time is not None:
            start = await self._bus.start_of(project, since, micros_of(since_time) if since_time is not None else None)
        else:
            raise invalid_request("since: say where to continue: an event id, '0', '$', or since_time", field="since")
        return await self._bus.cursor(project, start.seq)

    async def lag(self, consumer: Consumer) -> int:
        """Returns how many events of its project came after its cursor."""
        start = await self._bus.start_of(consumer.project, consumer.record.cursor, None)
        head = await self._bus.start_of(consumer.project, "", None)
        return head.seq - start.seq + start.missed

    def release(self, agent_id: str) -> None:
        """Delivers what an agent holds to others: it has ended."""
        for consumer in self.all():
            consumer.release(agent_id)

    async def watch(self) -> None:
        """Deletes consumers that nobody has used for long. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.sweep()
            except SidecarError as problem:
                log.warning("cannot delete unused consumers: %s", problem)

    async def sweep(self) -> None:
        """Deletes the consumers that have not been used for their ``unused_seconds``, have no worker and no dead
        letters. Raises SidecarError."""
        now = self._clock.micros()
        for consumer in self.all():
            record = consumer.snapshot(whole=False)
            unused = now - micros_of(record.used_at) > record.settings.unused_seconds * 1_000_000
            if (
                unused
                and not record.workers
                and record.created_by != SIDECAR
                and not await self._store.letter_count(record.project_id, record.name)
            ):
                log.info("consumer %s of project %s was not used and is deleted", record.name, record.project_id)
                await self._delete(record.project_id, record.name)

    def drop(self) -> None:
        """Ends the workers of every consumer, and forgets the consumers: another sidecar has them."""
        for consumer in self.all():
            consumer.end(no_longer_here())
        self._consumers.clear()

    async def close(self) -> None:
        """Writes the state of every consumer."""
        await self._background.drain()
        await asyncio.gather(*(consumer.close() for consumer in self.all()))

    def _open(self, record: pb.Consumer) -> Consumer:
        return Consumer(record, self._bus, self._store, self._outbox, self._clock)

    def _require_same(self, known: pb.Consumer, asked: pb.Consumer) -> None:
        if known.settings != asked.settings:
            named = [
                field.name
                for field in pb.ConsumerSettings.DESCRIPTOR.fields
                if getattr(known.settings, field.name) != getattr(asked.settings, field.name)
            ]
            raise conflict(
                "CSM_002",
                f"consumer '{asked.name}' exists with other settings ({', '.join(named)}); delete it first, or choose "
                "another name",
                consumer=asked.name,
                settings=named,
            )
        if known.created_by != asked.created_by and not known.settings.shared and asked.created_by != OPERATOR:
            raise conflict(
                "CSM_002",
                f"consumer '{asked.name}' belongs to {known.created_by} and is not shared; choose another name",
                consumer=asked.name,
            )


def complete(settings: pb.ConsumerSettings) -> None:
    """Fills in the defaults. Raises SidecarError for an invalid filter (EVT_002) or combination (REQ_001)."""
    for name, value in DEFAULTS.items():
        if not settings.HasField(name):
            setattr(settings, name, value)
    settings.filter = settings.filter.strip()
    if settings.filter:
        filters.parse(settings.filter)
    if settings.agent_types and not settings.shared:
        raise invalid_request(
            "settings.agent_types: it limits who else may consume, so 'shared' must be true",
            field="settings.agent_types",
        )


def no_longer_here() -> SidecarError:
    """Returns the error (CLU_001) for a call that another sidecar serves now."""
    return unavailable("CLU_001", "another sidecar leads now; call again")


def unknown_letter(dead_letter_id: str) -> SidecarError:
    """Returns the error for an unknown dead letter (CSM_004)."""
    return not_found(
        "CSM_004",
        f"dead letter '{dead_letter_id}' not found; it may have been replayed or deleted. List them with "
        "'cco consumers dead-letters'",
        dead_letter_id=dead_letter_id,
    )
