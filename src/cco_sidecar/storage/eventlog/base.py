"""The interface of an event log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from cco_sidecar.core.metrics import Histogram


class NewEvent(NamedTuple):
    """An event to store.

    ``payload`` is a serialised Event without its id, ``micros`` its time in Unix microseconds, ``ttl`` in seconds.
    """

    project: str
    micros: int
    ttl: int
    payload: bytes


class EventRecord(NamedTuple):
    """A stored event, with the sequence number that the log assigned."""

    project: str
    seq: int
    micros: int
    ttl: int
    payload: bytes


class OpenedLog(NamedTuple):
    """The state of a project's log.

    ``epoch`` is 8 hex digits, chosen when the log is created. ``head`` is the highest number ever assigned. ``trimmed``
    is the one before the oldest stored event. ``records`` holds the newest events in order: as many as may be in memory
    at the start.
    """

    epoch: str
    head: int
    trimmed: int
    records: Sequence[EventRecord]


class EventReader(Protocol):
    """Reads stored events, by project."""

    async def after(self, project: str, seq: int, upto: int, count: int) -> list[EventRecord]:
        """Reads up to ``count`` events after a number, in order, up to and including ``upto``, which is stored. Fewer
        only if there are no more, or if they are large. Raises OSError."""
        ...

    async def before(self, project: str, seq: int, count: int) -> list[EventRecord]:
        """Reads up to ``count`` of the newest events before a number, in order. Empty if there are none; otherwise
        there may be fewer although more are stored. Raises OSError."""
        ...

    async def number_at(self, project: str, micros: int) -> int:
        """Returns a number before which all events are older than a time. Raises OSError."""
        ...


class EventLog(EventReader, Protocol):
    """Events on disk, by project, in the order they were appended.

    ``syncs``: how long it took to force a batch to the disk, in seconds.
    """

    syncs: Histogram

    async def projects(self) -> Sequence[str]: ...

    async def open(self, project: str) -> OpenedLog:
        """Opens a project's log. Must be called before its first ``append``."""
        ...

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[list[int]]:
        """Appends events, in call order. The future yields their sequence numbers once all are on disk.

        The future fails with OSError if they could not be written; none of them is stored then.
        """
        ...

    def droppable(self, project: str, upto: int, expired: Callable[[int, int], bool], max_bytes: int) -> int:
        """Returns the newest number that can be trimmed to free space: what is up to it is not after ``upto``, is
        ``expired(seq, micros)``, or exceeds ``max_bytes``. 0 if there is none."""
        ...

    def trim(self, project: str, upto: int) -> None:
        """Allows the log to delete events up to this number."""
        ...

    async def probe(self) -> None:
        """Checks that the disk is writable. Raises OSError if not."""
        ...

    async def close(self) -> None:
        """Stores what is queued, and stops."""
        ...
