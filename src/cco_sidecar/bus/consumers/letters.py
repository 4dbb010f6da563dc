"""Dead letters: events that were delivered as often as they may be, and not acknowledged."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.bus.consumers.ledger import Item
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core import ids
from cco_sidecar.core.principal import SIDECAR
from orchestra.v1.consumer_service_pb2 import Consumer, DeadLetter
from orchestra.v1.event_service_pb2 import Event

TOPIC = "dead-letters"
EVENT_TYPE = "dead_lettered"
_NEVER_SECONDS = 10**10


def letter_of(item: Item, consumer: Consumer, failed_at: Timestamp) -> DeadLetter:
    """Returns the dead letter of an item whose last delivery failed."""
    return DeadLetter(
        dead_letter_id=item.dead_letter_id or ids.sortable("dlt"),
        project_id=consumer.project_id,
        consumer=consumer.name,
        event=item.entry.event,
        attempts=item.attempt,
        reason=item.reason,
        last_held_by=item.holder.subject,
        failed_at=failed_at,
    )


def entry_of(letter: DeadLetter) -> Entry:
    """Returns the event of a dead letter, to be delivered again. It never expires."""
    event = letter.event
    seq = int(event.event_id.rpartition("-")[2])
    return Entry(seq, event, event.SerializeToString(), 0, _NEVER_SECONDS)


def event_of(letter: DeadLetter) -> Event | None:
    """Returns the event that announces a dead letter; None if it is being replayed, or is about such an event: several
    consumers that always fail would feed each other without end."""
    if letter.replaying or (letter.event.event_type == EVENT_TYPE and letter.event.publisher == SIDECAR):
        return None
    event = Event(
        event_type=EVENT_TYPE,
        publisher=SIDECAR,
        topic=TOPIC,
        correlation_id=letter.event.correlation_id,
    )
    event.data.update(
        {
            "dead_letter_id": letter.dead_letter_id,
            "consumer": letter.consumer,
            "event_id": letter.event.event_id,
            "event_type": letter.event.event_type,
            "topic": letter.event.topic,
            "attempts": letter.attempts,
            "reason": letter.reason,
            "last_held_by": letter.last_held_by,
        }
    )
    return event


def is_about(entry: Entry, consumer: str) -> bool:
    """Reports whether an event announces a dead letter of a consumer. It is not delivered to that one: a consumer that
    always fails would never come to an end."""
    return entry.event_type == EVENT_TYPE and entry.publisher == SIDECAR and entry.text("consumer") == consumer
