"""The interface of an event log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol


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

    ``epoch`` is 8 hex digits, chosen when the log is created. ``head`` is the highest number ever assigned.
    ``records`` holds the stored events in order.
    """

    epoch: str
    head: int
    records: Sequence[EventRecord]


class EventLog(Protocol):
    """Events on disk, by project, in the order they were appended."""

    async def projects(self) -> Sequence[str]: ...

    async def open(self, project: str) -> OpenedLog:
        """Opens a project's log. Must be called before its first ``append``."""
        ...

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[list[int]]:
        """Appends events, in call order. The future yields their sequence numbers once all are on disk.

        The future fails with OSError if they could not be written; none of them is stored then.
        """
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
