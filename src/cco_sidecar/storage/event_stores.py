"""What the event engine stores in records: the outbox, consumers, schedules, schemas and
webhooks. See base.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestra.v1.consumer_service_pb2 import Consumer, DeadLetter
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.schedule_service_pb2 import Schedule
from orchestra.v1.schema_service_pb2 import EventSchema
from orchestra.v1.webhook_service_pb2 import Webhook


class Announcement(NamedTuple):
    """An event that was stored with the change it announces and is to be published."""

    number: int
    project: str
    event: Event


class OutboxStore(Protocol):
    """Announcements that are not known to be published.

    The stores below add each announcement in the transaction of its change.
    """

    async def pending(self, *, everyone: bool = False) -> Sequence[Announcement]:
        """Returns the announcements of this sidecar, oldest first; with ``everyone``, or if it shares the database with
        nobody, all."""
        ...

    async def adopt(self) -> int:
        """Makes those of sidecars that are gone this sidecar's, and returns how many there were. Only the leader does
        so. Raises SidecarError (CLU_001)."""
        ...

    async def done(self, number: int) -> None:
        """Deletes an announcement whose event is published."""
        ...


class ConsumerChange(NamedTuple):
    """A consumer's new state. ``letters`` are new or changed, each with the event that announces it, if any;
    ``settled`` are the ids of dead letters to delete."""

    consumer: Consumer
    letters: Sequence[DeadLetter]
    settled: Sequence[str]
    events: Sequence[Event | None]


class StoredLetter(NamedTuple):
    number: int
    letter: DeadLetter


# Of a project; beyond that, the oldest are deleted.
MAX_LETTER_BYTES = 64 * 2**20


class ConsumerStore(Protocol):
    """Durable consumers and their dead letters. No method blocks the event loop; a write is on disk when it returns."""

    async def add(self, consumer: Consumer) -> None: ...

    async def all(self) -> Sequence[Consumer]: ...

    async def save(self, change: ConsumerChange) -> Sequence[Announcement]:
        """Stores a change in one transaction. Changes nothing if the consumer was deleted. At most MAX_LETTER_BYTES of
        dead letters of a project are kept."""
        ...

    async def delete(self, project: str, name: str) -> int:
        """Deletes a consumer and its dead letters; returns how many there were."""
        ...

    async def letter(self, project: str, dead_letter_id: str) -> DeadLetter | None: ...

    async def letters(self, project: str, consumer: str, ids: Sequence[str], limit: int = 1000) -> Sequence[DeadLetter]:
        """Returns dead letters of a consumer, oldest first: those with an id in ``ids``, or all if it is empty."""
        ...

    async def letter_page(
        self, project: str, consumer: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[StoredLetter]:
        """Returns dead letters, newest first; of every consumer if ``consumer`` is empty. Stops at ``PAGE_BYTES``, but
        returns at least one if there is any."""
        ...

    async def letter_count(self, project: str, consumer: str) -> int: ...

    async def delete_letter(self, project: str, dead_letter_id: str) -> bool: ...


class ScheduleStore(Protocol):
    """Events that are published later. No method blocks the event loop; a write is on disk when it returns."""

    async def put(self, schedule: Schedule) -> None:
        """Adds or replaces a schedule."""
        ...

    async def all(self) -> Sequence[Schedule]: ...

    async def delete(self, project: str, schedule_id: str) -> None: ...

    async def publish(self, schedule: Schedule, event: Event, *, last: bool) -> Announcement | None:
        """Hands an event to the outbox and stores the schedule's new state, or deletes it with ``last``, in one
        transaction. Does nothing if the schedule was deleted."""
        ...


class SchemaStore(Protocol):
    """Schemas of event types. No method blocks the event loop; a write is on disk when it returns."""

    async def put(self, schema: EventSchema) -> None:
        """Adds or replaces a schema."""
        ...

    async def all(self) -> Sequence[EventSchema]: ...

    async def delete(self, project: str, event_type: str) -> None: ...


class StoredWebhook(NamedTuple):
    """A webhook, without its status. ``sealed`` is its secret, encrypted by the caller. ``former_sealed`` is the one
    before, which also signs until ``former_until``, in Unix microseconds; empty for none."""

    webhook: Webhook
    sealed: bytes
    former_sealed: bytes = b""
    former_until: int = 0


class WebhookStore(Protocol):
    """Webhooks. No method blocks the event loop; a write is on disk when it returns."""

    async def put(self, stored: StoredWebhook) -> None:
        """Adds or replaces a webhook."""
        ...

    async def all(self) -> Sequence[StoredWebhook]: ...

    async def delete(self, project: str, name: str) -> None: ...
