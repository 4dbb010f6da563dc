"""What services ask of the event bus. tests/bus/contract.py is the suite that every backend runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.encoded import Encoded
from orchestra.v1.event_service_pb2 import Event, Gap

T = TypeVar("T")

DEFAULT_TTL = 86_400
# Serialised, as it is stored.
MAX_EVENT_BYTES = 256 * 1024
# The cursor in front of everything that is retained.
FROM_OLDEST = "0"


@dataclass(frozen=True, slots=True)
class SubscriptionKey:
    """What a subscription asks for. An empty set or text accepts everything."""

    event_types: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    filter: str = ""

    def accepts(self, topic: str, event_type: str) -> bool:
        """The filter aside."""
        return (not self.topics or topic in self.topics) and (not self.event_types or event_type in self.event_types)


class Outgoing(NamedTuple):
    """An event to publish, without id and timestamp. ``ttl``: seconds; ``urgent``: flushed to readers at once."""

    project: str
    event: Event
    ttl: int = DEFAULT_TTL
    urgent: bool = False


class Published(NamedTuple):
    """``subscribers``: names of the readers, of this process, that get the event."""

    event_id: str
    timestamp: Timestamp
    subscribers: list[str]


class Position(NamedTuple):
    """Where a reader starts: after ``seq``; ``missed`` events of an unknown or trimmed past when ``gap``."""

    seq: int
    gap: bool = False
    missed: int = 0


class Page(NamedTuple):
    """Retained events in order. ``trimmed``: the sequence number of the newest event that is no longer retained; 0
    when all are. ``head``: that of the newest event."""

    entries: Sequence[Entry]
    trimmed: int
    head: int


class Batch(NamedTuple):
    """What one read gave. ``wire`` is a SubscribeResponse with its cursor."""

    entries: tuple[Entry, ...]
    cursor: str
    more: bool
    gap: Gap | None
    wire: Encoded


@dataclass(slots=True)
class Counters:
    """Since the start, of this process."""

    published: int = 0
    delivered: int = 0
    deliveries: int = 0
    delivery_seconds: float = 0.0


class EventBus(Protocol):
    """Events by project, each with a sequence number that the log assigns. An event's id is the cursor behind it."""

    counters: Counters
    # The last write failed.
    failing: bool

    @property
    def draining(self) -> bool:
        """It closes: readers get what they have, and no more."""
        ...

    @property
    def queue_depth(self) -> int:
        """Events accepted and not yet stored."""
        ...

    @property
    def subscriptions(self) -> int:
        """Open readers of this process."""
        ...

    async def publish(self, project: str, event: Event, *, ttl: int = DEFAULT_TTL, urgent: bool = False) -> Published:
        """Completes ``event`` with its id and timestamp; returns once it is stored. Raises SidecarError: EVT_002 for
        one that is too large, EVT_001 when it could not be stored."""
        ...

    async def publish_all(self, outgoing: Sequence[Outgoing]) -> list[Published]:
        """The same for several, in one commit where that is possible. Refused whole when one is too large."""
        ...

    async def is_published(self, project: str, event: Event) -> bool:
        """A retained event has the content of ``event``, which has no id and timestamp yet."""
        ...

    async def read(self, project: str, after: int, limit: int) -> Page:
        """Up to ``limit`` events after a sequence number, also expired ones."""
        ...

    async def select(
        self, project: str, start: Position | None, limit: int, keep: Callable[[Entry], bool], caller: str
    ) -> tuple[list[Entry], bool]:
        """Up to ``limit`` retained entries after ``start``, oldest first, or the newest when it is None, in a page of
        bounded size; and whether there are more after them. Long scans let others run."""
        ...

    async def start_of(self, project: str, since: str, since_micros: int | None) -> Position:
        """Where a reader starts: at a cursor, at a time, or now. Raises SidecarError (EVT_002)."""
        ...

    def follow(
        self, project: str, key: SubscriptionKey, start: Position, name: str, since: str = ""
    ) -> AsyncIterator[Batch]:
        """Batches for as long as the bus is open. The first says where the stream starts, before anything has
        happened; the last, when the bus closes, where it ended."""
        ...

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
        """The first batch, or an empty one after ``timeout`` seconds or when the bus closes."""
        ...

    async def cursor(self, project: str, seq: int) -> str: ...

    async def projects(self) -> list[str]:
        """Those that have or had events."""
        ...

    def listen(self, listener: Callable[[str, Entry], None]) -> None:
        """``listener(project, entry)`` is told of every event once it is stored. It must not block or raise."""
        ...

    def has_reader(self, name: str) -> bool:
        """A reader of that name waits in this process."""
        ...

    async def probe(self) -> None:
        """After a failed write: finds out whether events can be written again."""
        ...

    async def unless_draining(self, work: Awaitable[T]) -> T | None:
        """The result of ``work``, or None when the bus begins to drain first."""
        ...

    def stop_readers(self) -> None:
        """Answers every waiting reader with its cursor; new ones are answered at once."""
        ...

    async def close(self) -> None:
        """Waits until all that was accepted is stored."""
        ...
