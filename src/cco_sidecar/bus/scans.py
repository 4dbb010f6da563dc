"""Scans of past events, in short slices that take turns, so that they do not block the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import TypeVar

from cco_sidecar.core.keyed_semaphore import KeyedSemaphore

T = TypeVar("T")

# A filter may cost milliseconds per event, so a slice yields after this time.
SECONDS = 0.002
# Slices that take less than this together do not need to yield.
_NOTHING_SECONDS = 0.0005


class Scans:
    """Schedules slices fairly among callers. Not thread-safe."""

    def __init__(self) -> None:
        self._callers = KeyedSemaphore[str]()
        self._lock = asyncio.Lock()
        self._spent = 0.0

    @asynccontextmanager
    async def slice(self, caller: str) -> AsyncIterator[None]:
        """Holds the right to scan.

        Callers take turns, however many scans each has. Once enough time is spent, the next slice starts in another
        iteration of the event loop.
        """
        async with self._callers.hold(caller), self._lock:
            began = time.monotonic()
            yield
            if self._is_over(time.monotonic() - began):
                await asyncio.sleep(0)

    async def run(self, caller: str, scan: Generator[None, None, T]) -> T:
        """Runs ``scan`` to its end and returns its result. It yields wherever other work may run."""
        ended: list[T] = []
        if not self._lock.locked() and not len(self._callers):
            # Nobody waits for a turn, and most scans end before it would be over.
            began = time.monotonic()
            _advance(scan, ended)
            if self._is_over(time.monotonic() - began):
                async with self._lock:
                    await asyncio.sleep(0)
        while not ended:
            async with self.slice(caller):
                _advance(scan, ended)
        return ended[0]

    def _is_over(self, took: float) -> bool:
        """Reports whether the next slice must start in another iteration of the event loop."""
        self._spent += took
        if self._spent <= _NOTHING_SECONDS:
            return False
        self._spent = 0.0
        return True


def _advance(scan: Generator[None, None, T], ended: list[T]) -> None:
    """Runs ``scan`` to its next pause; puts its result into ``ended`` if that is its end."""
    try:
        next(scan)
    except StopIteration as end:
        ended.append(end.value)
