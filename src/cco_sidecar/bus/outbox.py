"""The outbox: publishes the event that announces a change exactly once, across crashes.

A store writes the change and its event in one transaction. The event is published afterwards, and then its row is
deleted. If a crash happens in between, the row remains; the next start publishes the event unless it finds it in the
log.
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
    """Publishes announcements, and retries every second until each succeeds. Each caller's are published in order."""

    def __init__(self, store: OutboxStore, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        # Announcements to retry, oldest first.
        self._waiting: dict[int, Announcement] = {}
        self._held: set[int] = set()
        self._retrying = Background()
        self._deleting = Background()

    @property
    def waiting(self) -> int:
        """The number of announcements that are to be retried or are held."""
        return len(self._waiting.keys() | self._held)

    async def publish(self, announcement: Announcement) -> str:
        """Publishes an event and returns its id, or an empty string if it failed and will be retried."""
        if not self._waiting:
            try:
                return await self._publish(announcement)
            except SidecarError as problem:
                log.warning("cannot publish %s, will retry: %s", announcement.event.event_type, problem)
        # Queue behind the waiting ones, which are older.
        if not self._waiting:
            self._retrying.start(self._retry(), "outbox retry")
        self._waiting[announcement.number] = announcement
        return ""

    def hold(self, announcement: Announcement) -> None:
        """Keeps the row until ``release``, even after the event is published: the change needs further work."""
        self._held.add(announcement.number)

    async def release(self, announcement: Announcement) -> None:
        """Deletes a held row, unless its event is still to be published."""
        self._held.discard(announcement.number)
        if announcement.number not in self._waiting:
            await self._delete(announcement)

    async def pending(self) -> list[Announcement]:
        """Returns the announcements that an earlier process left, oldest first. Raises SidecarError."""
        return list(await self._store.pending())

    async def recover(self) -> None:
        """Publishes what an earlier process left unpublished. Raises SidecarError."""
        for announcement in await self._store.pending():
            if not await self._bus.is_published(announcement.project, announcement.event):
                await self.publish(announcement)
            elif announcement.number not in self._held:
                await self._store.done(announcement.number)

    async def close(self) -> None:
        """Stops retrying. Events that are still unpublished are left to the next start."""
        await self._retrying.end()
        await self._deleting.drain()

    async def _publish(self, announcement: Announcement) -> str:
        published = await self._bus.publish(announcement.project, announcement.event)
        if announcement.number not in self._held:
            # Not awaited: if a crash comes first, the next start only has to check the event again.
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
                "%s is published, but its outbox row cannot be deleted: %s", announcement.event.event_type, problem
            )
