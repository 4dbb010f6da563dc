"""Locks and semaphores by key: an agent's, a repository's, a caller's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class NoTurn(Exception):
    """Others had all the places for all the time."""


class Turns(Generic[K]):
    """``most`` at a time of each key; the others wait in order. A key that nobody holds or wants is forgotten."""

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._places: dict[K, _Places] = {}

    def __len__(self) -> int:
        """Keys that somebody holds or wants."""
        return len(self._places)

    @asynccontextmanager
    async def one(self, key: K, wait_seconds: float | None = None) -> AsyncIterator[None]:
        """Raises NoTurn when it has none by then."""
        places = self._places.get(key)
        if places is None:
            places = self._places[key] = _Places(self._most)
        places.users += 1
        try:
            try:
                async with asyncio.timeout(wait_seconds):
                    await places.free.acquire()
            except TimeoutError:
                raise NoTurn from None
            try:
                yield
            finally:
                places.free.release()
        finally:
            places.users -= 1
            if not places.users:
                del self._places[key]


class _Places:
    __slots__ = ("free", "users")

    def __init__(self, most: int) -> None:
        self.free = asyncio.Semaphore(most)
        self.users = 0
