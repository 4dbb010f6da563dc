"""The interface of the event bus. Every backend passes the suite in tests/bus/contract.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.metrics import Histogram
from orchestra.v1.event_service_pb2 import Event, Gap

T = TypeVar("T")

DEFAULT_TTL = 86_400
# Of the serialised event, as it is stored.
MAX_EVENT_BYTES = 256 * 1024
# The cursor before the oldest retained event.
FROM_OLDEST = "0"


@dataclass(frozen=True, slots=True)
class SubscriptionKey:
    """The events that a subscription selects. An empty set or string selects all."""

    event_types: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    filter: str = ""

    def accepts(self, topic: str, event_type: str) -> bool:
        """Matches the topic and the type; the filter is not applied."""
        return (not self.topics or topic in self.topics) and (not self.event_types or event_type in self.event_types)


class Outgoing(NamedTuple):
    """An event to publish, without id and timestamp.

    ``ttl`` is in seconds. ``urgent`` wakes the readers immediately instead of with the next flush. ``expected_last`` is
    the id that the topic's newest event must have, FROM_OLDEST for a topic without events; empty for no condition.
    ``once``: what several sidecars may publish, and is stored once in ten minutes if they share their events.
    """

    project: str
    event: Event
    ttl: int = DEFAULT_TTL
    urgent: bool = False
    expected_last: str = ""
    once: str = ""


class Published(NamedTuple):
    """A stored event. ``subscribers`` names the readers of this process that receive it. ``duplicate``: an earlier call
    with the same idempotency key stored it."""

    event_id: str
    timestamp: Timestamp
    subscribers: list[str]
    duplicate: bool = False


class Position(NamedTuple):
    """Where a reader starts: after ``seq``.

    ``gap`` is set when events before it are no longer available; ``missed`` counts them, 0 when unknown.
    """

    seq: int
    gap: bool = False
    missed: int = 0


class Page(NamedTuple):
    """Retained events in order.

    ``trimmed`` is the sequence number of the newest event that is no longer retained, 0 when all are retained.
    ``head`` is the sequence number of the newest event.
    """

    entries: Sequence[Entry]
    trimmed: int
    head: int


class Batch(NamedTuple):
    """The result of one read. ``wire`` is a serialised SubscribeResponse that includes the cursor."""

    entries: tuple[Entry, ...]
    cursor: str
    more: bool
    gap: Gap | None
    wire: Encoded


@dataclass(slots=True)
class Counters:
    """Totals of this process since it started."""

    published: int = 0
    delivered: int = 0
    deliveries: int = 0
    delivery_seconds: float = 0.0
    # How long it took to force a batch of events to the disk, in seconds.
    syncs: Histogram = field(default_factory=Histogram)


Sink = Callable[[Encoded], bool]


class Following(Protocol):
    """An asynchronous iterator over batches.

    While it is waited for, new batches go to ``sink``, if one is set, until that returns False: then the batch is
    returned to the waiting caller. It saves waking a task for each stream and batch.
    """

    sink: Sink | None

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    async def __anext__(self) -> Batch: ...

    async def aclose(self) -> None: ...


class EventBus(Protocol):
    """Events by project. The log assigns each a sequence number; an event's id is the cursor just after it."""

    counters: Counters

    @property
    def failing(self) -> bool:
        """Whether the last write failed."""
        ...

    @property
    def draining(self) -> bool:
        """Reports whether the bus is shutting down: readers get what is already there, and then end."""
        ...

    @property
    def queue_depth(self) -> int:
        """The number of events that are accepted but not yet stored."""
        ...

    @property
    def subscriptions(self) -> int:
        """The number of open readers in this process."""
        ...

    async def start(self) -> None:
        """Opens what is stored. Nothing else is called before it. Raises SidecarError (STR_002)."""
        ...

    async def publish(self, outgoing: Outgoing) -> Published:
        """Stores an event, and sets its id and timestamp in place.

        An event with the publisher and the idempotency key of one of the last ten minutes is not stored again. Raises
        SidecarError: EVT_002 if it is too large, STR_001 if it could not be written, EVT_001 when the bus is closed,
        EVT_003 if its key was used for another event or the topic's newest event is not the expected one, EVT_004 if
        too much waits to be stored.
        """
        ...

    async def publish_all(self, outgoing: Sequence[Outgoing]) -> list[Published]:
        """Publishes several events, in one commit where possible, or none if one of them is refused. Conditions are
        about the state before."""
        ...

    async def is_published(self, project: str, event: Event) -> bool:
        """Reports whether a retained event equals ``event``, ignoring id and timestamp."""
        ...

    async def read(self, project: str, after: int, limit: int) -> Page:
        """Returns up to ``limit`` events after a sequence number, including expired ones."""
        ...

    async def find(self, project: str, event_id: str) -> Entry | None:
        """Returns a retained event."""
        ...

    async def select(
        self,
        project: str,
        start: Position | None,
        limit: int,
        keep: Callable[[Entry], bool],
        caller: str,
        end: Position | None = None,
    ) -> tuple[list[Entry], bool]:
        """Returns up to ``limit`` unexpired entries that ``keep`` accepts, oldest first, and whether more follow.

        The page starts after ``start``; when it is None, the page holds the newest entries, or with ``end`` the newest
        before the event at that position, and nothing follows. Its
        size in bytes is bounded. Long scans yield to the event loop; ``caller`` is the key for fair scheduling.
        """
        ...

    async def start_of(self, project: str, since: str, since_micros: int | None) -> Position:
        """Returns where a reader starts: at a cursor, at a time, or now. Raises SidecarError (EVT_002)."""
        ...

    def follow(self, project: str, key: SubscriptionKey, start: Position, name: str, since: str = "") -> Following:
        """Yields batches until the bus drains.

        The first batch is empty and carries the starting cursor; the last carries the final cursor. An idle stream
        yields an empty batch from time to time, to keep its cursor current.
        """
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
        """Returns the first batch, or an empty one after ``timeout`` seconds or when the bus drains."""
        ...

    async def cursor(self, project: str, seq: int) -> str: ...

    async def projects(self) -> list[str]:
        """Returns the projects that have or had events, and those that were read in this process."""
        ...

    def listen(self, listener: Callable[[str, Entry], None]) -> None:
        """Calls ``listener(project, entry)`` for every event once it is stored. It must not block or raise."""
        ...

    def tell(self, what: str, message: bytes) -> None:
        """Tells the other sidecars that share the events something that is not stored: those that are away, or whose
        connection is lost at this moment, do not hear it. Those that hear it may include this one."""
        ...

    def hear(self, what: str, listener: Callable[[bytes], None]) -> None:
        """Calls ``listener`` with what other sidecars tell. It must not block or raise."""
        ...

    def has_reader(self, name: str) -> bool:
        """Reports whether a reader of that name is open in this process."""
        ...

    async def probe(self) -> None:
        """After a failed write, checks whether events can be written again."""
        ...

    async def unless_draining(self, work: Awaitable[T]) -> T | None:
        """Returns the result of ``work``, or None when the bus starts to drain first."""
        ...

    def stop_readers(self) -> None:
        """Starts draining: every waiting reader returns its cursor, and new readers return immediately."""
        ...

    async def close(self) -> None:
        """Stops accepting events, and waits until all accepted events are stored or have failed."""
        ...

    async def release(self) -> None:
        """Frees files and connections, also of a bus that was not started."""
        ...
