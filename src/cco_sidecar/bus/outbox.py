"""The outbox: a change and the event that announces it, exactly once, across crashes.

A store writes both in one transaction. The event is published afterwards, and its row deleted once it is out. After a
crash in between the row is still there: the next start looks whether the event came out after all, and publishes it if
it did not.
"""

from __future__ import annotations

import asyncio
import logging

from cco_sidecar.bus.base import EventBus
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.base import Announcement, OutboxStore

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class Outbox:
    def __init__(self, store: OutboxStore, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        # What could not be published yet, oldest first.
        self._waiting: dict[int, Announcement] = {}
        self._held: set[int] = set()
        self._retrying = Background()
        self._deleting = Background()

    @property
    def waiting(self) -> int:
        """Announcements that could not be published yet, or are held."""
        return len(self._waiting.keys() | self._held)

    async def publish(self, announcement: Announcement) -> str:
        """The event's id. Empty when it cannot be published now: then it is retried until it can."""
        if not self._waiting:
            try:
                return await self._publish(announcement)
            except SidecarError as problem:
                log.warning("%s is still to be published: %s", announcement.event.event_type, problem)
        # Behind those that wait, so that events come out in the order of the changes.
        if not self._waiting:
            self._retrying.start(self._retry(), "publishing what waits")
        self._waiting[announcement.number] = announcement
        return ""

    def hold(self, announcement: Announcement) -> None:
        """Keeps the row, also when the event is out, until ``release``: there is more to do for the change."""
        self._held.add(announcement.number)

    async def release(self, announcement: Announcement) -> None:
        self._held.discard(announcement.number)
        if announcement.number not in self._waiting:
            await self._delete(announcement)

    async def pending(self) -> list[Announcement]:
        """What an earlier process left, oldest first. Raises SidecarError."""
        return list(await self._store.pending())

    async def recover(self) -> None:
        """Publishes what an earlier process left and did not publish. Raises SidecarError."""
        for announcement in await self._store.pending():
            if not await self._bus.is_published(announcement.project, announcement.event):
                await self.publish(announcement)
            elif announcement.number not in self._held:
                await self._store.done(announcement.number)

    async def close(self) -> None:
        """What is still to be published is left to the next start."""
        await self._retrying.end()
        await self._deleting.drain()

    async def _publish(self, announcement: Announcement) -> str:
        published = await self._bus.publish(announcement.project, announcement.event)
        if announcement.number not in self._held:
            # Nobody waits for this: a crash before it only means that the next start looks once more.
            self._deleting.start(self._delete(announcement))
        return published.event_id

    async def _retry(self) -> None:
        while self._waiting:
            await asyncio.sleep(_RETRY_SECONDS)
            for number, announcement in list(self._waiting.items()):
                try:
                    await self._publish(announcement)
                except SidecarError:
                    break
                del self._waiting[number]

    async def _delete(self, announcement: Announcement) -> None:
        try:
            await self._store.done(announcement.number)
        except SidecarError as problem:
            log.warning(
                "%s is published; its outbox row could not be deleted: %s", announcement.event.event_type, problem
            )
