"""Reads the bus at a consumer's cursor, a batch at a time, and keeps what is not delivered yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from cco_sidecar.bus.base import EventBus, SubscriptionKey
from cco_sidecar.bus.consumers import letters
from cco_sidecar.bus.entry import Entry
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from orchestra.v1.consumer_service_pb2 import Consumer
from orchestra.v1.event_service_pb2 import Gap


class Intake:
    """Moves ``record.cursor`` with what it hands out. ``arrived(gap)`` is called for every batch, ``full()`` says
    whether to wait with the next, and ``failed(problem)`` is called if it cannot read."""

    def __init__(
        self,
        record: Consumer,
        bus: EventBus,
        arrived: Callable[[Gap | None], None],
        full: Callable[[], bool],
        failed: Callable[[SidecarError], None],
    ) -> None:
        settings = record.settings
        self._record = record
        self._bus = bus
        self._key = SubscriptionKey(
            frozenset(settings.event_types), frozenset(settings.topics), settings.filter.strip()
        )
        self._arrived = arrived
        self._full = full
        self._failed = failed
        self._buffer: deque[Entry] = deque()
        # The cursor after the buffer.
        self._read_to = record.cursor
        self._wanted = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._tasks = Background()

    def start(self) -> None:
        """Reads from the cursor on, unless it does already."""
        if self._reading is None:
            self._read_to = self._record.cursor
            self._reading = self._tasks.start(self._read(), f"consumer {self._record.name}")

    def stop(self) -> None:
        """Forgets what is read and not handed out: the cursor is before it. To move the cursor, set it first."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        self._buffer.clear()
        self._read_to = self._record.cursor

    async def close(self) -> None:
        self.stop()
        await self._tasks.end()

    def next(self) -> Entry | None:
        """Hands out an event; the cursor is then after it."""
        if not self._buffer:
            return None
        entry = self._buffer.popleft()
        self._record.cursor = entry.event_id
        return entry

    def skip(self) -> bool:
        """Moves the cursor over what is not selected, if all else is handed out. Returns whether it moved."""
        moves = not self._buffer and self._record.cursor != self._read_to
        if moves:
            self._record.cursor = self._read_to
        return moves

    def more(self) -> None:
        """Reads on, unless it is full or has something in hand."""
        self._wanted.set()

    async def _read(self) -> None:
        try:
            await self._follow()
        except SidecarError as problem:
            self._failed(problem)

    async def _follow(self) -> None:
        record = self._record
        since = record.cursor
        start = await self._bus.start_of(record.project_id, since, None)
        following = self._bus.follow(record.project_id, self._key, start, f"consumer:{record.name}", since=since)
        try:
            async for batch in following:
                self._buffer.extend(entry for entry in batch.entries if not letters.is_about(entry, record.name))
                self._read_to = batch.cursor
                self._arrived(batch.gap)
                while self._buffer or self._full():
                    self._wanted.clear()
                    await self._wanted.wait()
        finally:
            await following.aclose()
