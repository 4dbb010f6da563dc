"""Semaphores by key: an agent's, a repository's, a caller's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class NotInTime(Exception):
    """Others held the semaphore for all the time."""


class KeyedSemaphore(Generic[K]):
    """``most`` at a time of each key; the others wait in order. A key that nobody holds or wants is forgotten."""

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._entries: dict[K, _Entry] = {}

    def __len__(self) -> int:
        """Keys that somebody holds or wants."""
        return len(self._entries)

    @asynccontextmanager
    async def hold(self, key: K, timeout_seconds: float | None = None) -> AsyncIterator[None]:
        """Raises NotInTime."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(self._most)
        entry.users += 1
        try:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await entry.semaphore.acquire()
            except TimeoutError:
                raise NotInTime from None
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
