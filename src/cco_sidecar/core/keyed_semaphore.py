"""Semaphores by key, such as an agent, a repository or a caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class NotInTime(Exception):
    """The semaphore was not free within the timeout."""


class KeyedSemaphore(Generic[K]):
    """Allows ``most`` holders per key; others wait in order. Unused keys are dropped. Not thread-safe."""

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._entries: dict[K, _Entry] = {}

    def __len__(self) -> int:
        """Returns the number of keys that are held or waited for."""
        return len(self._entries)

    @asynccontextmanager
    async def hold(self, key: K, timeout_seconds: float | None = None) -> AsyncIterator[None]:
        """Holds a key. Raises NotInTime if it is not free within ``timeout_seconds``."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(self._most)
        entry.users += 1
        try:
            if entry.semaphore.locked():
                try:
                    async with asyncio.timeout(timeout_seconds):
                        await entry.semaphore.acquire()
                except TimeoutError:
                    raise NotInTime from None
            else:
                # Does not wait; a timer would cost more than all else here.
                await entry.semaphore.acquire()
            try:
                yield
            finally:
                entry.semaphore.release()
        finally:
            entry.users -= 1
            if not entry.users:
                del self._entries[key]


class _Entry:
    __slots__ = ("semaphore", "users")

    def __init__(self, most: int) -> None:
        self.semaphore = asyncio.Semaphore(most)
        self.users = 0
