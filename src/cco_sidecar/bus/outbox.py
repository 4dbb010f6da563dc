"""The outbox: publishes the event that announces a change exactly once, across crashes.

A store writes the change and its event in one transaction. The event is published afterwards, and then its row is
deleted. If a crash happens in between, the row remains; the next start publishes the event unless it finds it in the
log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Set
from hashlib import sha256
from itertools import islice

from cco_sidecar.bus.base import EventBus, Outgoing
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.retry import Backoff
from cco_sidecar.storage.event_stores import Announcement, OutboxStore

log = logging.getLogger(__name__)

_MAX_BATCH = 500
_WATCH_SECONDS = 2.0


# Failures that may be over at the next attempt. Whatever else is refused stays refused.
_PASSES = frozenset({Kind.INTERNAL, Kind.UNAVAILABLE, Kind.RATE_LIMITED})


class Outbox:
    """Publishes announcements in order, a batch at a time, and retries until each is published."""

    def __init__(self, store: OutboxStore, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        # Announcements to publish, oldest first, with the future that tells the caller.
        self._queue: deque[tuple[Announcement, asyncio.Future[str]]] = deque()
        self._held: set[int] = set()
        # Published, but their rows could not be deleted yet.
        self._undeleted: set[int] = set()
        # Published by ``watch``, in case their callers hand them over after all. Only lost connections add to it. A
        # database may use the number of a deleted row again.
        self._swept: set[tuple[int, str]] = set()
        # Announcements that are published at once; one after an event was refused.
        self._batch = _MAX_BATCH
        self._draining = False
        self._failing = False
        self._closing = False
        self._publishing = Background()
        self._deleting = Background()

    @property
    def waiting(self) -> int:
        """The number of announcements that are to be retried or are held."""
        return len(self._held | (self._queued() if self._failing else set()))

    async def publish(self, announcement: Announcement) -> str:
        """Publishes an event and returns its id, or an empty string if it failed and will be retried."""
        if _identity(announcement) in self._swept:
            self._swept.discard(_identity(announcement))
            return ""
        return await self._publish(announcement)

    async def _publish(self, announcement: Announcement) -> str:
        published: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._queue.append((announcement, published))
        if self._failing:
            # Behind the ones that are retried.
            return ""
        if not self._draining:
            self._draining = True
            self._publishing.start(self._drain(), "outbox")
        return await published

    def hold(self, announcement: Announcement) -> None:
        """Keeps the row until ``release``, even after the event is published: the change needs further work."""
        self._held.add(announcement.number)

    async def release(self, announcement: Announcement) -> None:
        """Deletes a held row, unless its event is still to be published."""
        self._held.discard(announcement.number)
        if announcement.number not in self._queued():
            await self._delete(announcement)

    async def pending(self) -> list[Announcement]:
        """Returns the announcements that an earlier process left, oldest first. Raises SidecarError."""
        return list(await self._store.pending())

    async def is_waiting(self, correlation_id: str) -> bool:
        """Whether an event with this correlation ID is still to be published, by any sidecar. Raises SidecarError."""
        left = await self._store.pending(everyone=True)
        return any(each.event.correlation_id == correlation_id for each in left)

    async def recover(self) -> None:
        """Publishes what an earlier process left unpublished. Raises SidecarError."""
        for announcement in await self._store.pending():
            if not await self._bus.is_published(announcement.project, announcement.event):
                await self.publish(announcement)
            elif announcement.number not in self._held:
                await self._store.done(announcement.number)

    async def watch(self) -> None:
        """Takes care of rows that are left: the event is published, but the row could not be deleted; or the caller did
        not learn that its change was stored. Runs until it is cancelled."""
        seen: set[int] = set()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                seen = await self.sweep(seen)
            except SidecarError as problem:
                log.warning("cannot look for events that were left unpublished: %s", problem)

    async def keep_adopting(self) -> None:
        """Takes over what sidecars that are gone left unpublished; ``watch`` publishes it. Runs until it is
        cancelled."""
        while True:
            try:
                if taken := await self._store.adopt():
                    log.info("%d events of sidecars that are gone are published here", taken)
            except SidecarError as problem:
                log.warning("cannot look for events of sidecars that are gone, retrying: %s", problem)
            await asyncio.sleep(_WATCH_SECONDS)

    async def sweep(self, seen: Set[int]) -> set[int]:
        """Publishes, or deletes, the rows in ``seen`` that nobody has handed over. Returns the rows to look at next
        time: a caller that has just stored a change is about to hand its row over. Raises SidecarError."""
        if self._failing:
            return set()
        left = [each for each in await self._store.pending() if each.number not in self._held | self._queued()]
        for announcement in left:
            if announcement.number in self._undeleted:
                await self._delete(announcement)
            elif announcement.number in seen:
                if await self._bus.is_published(announcement.project, announcement.event):
                    await self._delete(announcement)
                else:
                    self._swept.add(_identity(announcement))
                    await self._publish(announcement)
        return {each.number for each in left}

    async def close(self) -> None:
        """Stops retrying. Events that are still unpublished are left to the next start."""
        self._closing = True
        if self._failing:
            await self._publishing.end()
        await self._publishing.drain()
        await self._deleting.drain()

    async def _drain(self) -> None:
        backoff = Backoff()
        try:
            while self._queue:
                batch = list(islice(self._queue, self._batch))
                try:
                    outgoing = [Outgoing(each.project, each.event, once=_once(each)) for each, _ in batch]
                    published = await self._bus.publish_all(outgoing)
                except SidecarError as problem:
                    if problem.kind not in _PASSES:
                        # It would block those behind it for ever.
                        await self._refused(batch, problem)
                        continue
                    self._note_failure(problem)
                    if self._closing:
                        return
                    await asyncio.sleep(backoff.failed())
                    continue
                self._failing, self._batch = False, _MAX_BATCH
                backoff.succeeded()
                for (announcement, done), event in zip(batch, published, strict=True):
                    self._queue.popleft()
                    _settle(done, event.event_id)
                    if announcement.number not in self._held:
                        # Not awaited: if a crash comes first, the next start only has to check the event again.
                        self._deleting.start(self._delete(announcement), "outbox row")
        finally:
            self._draining = False
            # Empty unless it was interrupted: the next announcement takes these along.
            for _, done in self._queue:
                _settle(done, "")

    async def _refused(self, batch: list[tuple[Announcement, asyncio.Future[str]]], problem: SidecarError) -> None:
        """Gives up the one event that the bus refuses, such as one that is too large; first finds it."""
        if len(batch) > 1:
            self._batch = 1
            return
        (announcement, done) = self._queue.popleft()
        log.error("%s is not published: %s", announcement.event.event_type, problem)
        _settle(done, "")
        await self._delete(announcement)

    def _note_failure(self, problem: SidecarError) -> None:
        if not self._failing:
            log.warning("cannot publish %s, will retry: %s", self._queue[0][0].event.event_type, problem)
        self._failing = True
        for _, done in self._queue:
            _settle(done, "")

    def _queued(self) -> set[int]:
        return {announcement.number for announcement, _ in self._queue}

    async def _delete(self, announcement: Announcement) -> None:
        try:
            await self._store.done(announcement.number)
            self._undeleted.discard(announcement.number)
        except SidecarError as problem:
            self._undeleted.add(announcement.number)
            log.warning(
                "%s is published, but its outbox row cannot be deleted: %s", announcement.event.event_type, problem
            )


def _once(announcement: Announcement) -> str:
    """Names the announcement, also for a sidecar that takes it over from one that was only slow."""
    event = announcement.event
    return sha256(f"{announcement.number}\0{event.event_type}\0{event.correlation_id}".encode()).hexdigest()[:32]


def _identity(announcement: Announcement) -> tuple[int, str]:
    return announcement.number, announcement.event.correlation_id


def _settle(done: asyncio.Future[str], event_id: str) -> None:
    # The caller may have been cancelled, or told already that its event is retried.
    if not done.done():
        done.set_result(event_id)
