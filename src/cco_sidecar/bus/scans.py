"""Searches through the past: one of them in an iteration of the event loop, for a short while, whoever asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import TypeVar

from cco_sidecar.core.keyed_semaphore import KeyedSemaphore

T = TypeVar("T")

# So many entries of the past are looked at before others may run.
ENTRIES = 500
# A filter may cost milliseconds an event; others are let in after so long.
SECONDS = 0.002
# Together, what is over sooner takes nobody's time.
_NOTHING_SECONDS = 0.0005


class Scans:
    def __init__(self) -> None:
        self._callers = KeyedSemaphore[str]()
        self._lock = asyncio.Lock()
        self._spent = 0.0

    @asynccontextmanager
    async def slice(self, caller: str) -> AsyncIterator[None]:
        """One caller after the other, however many searches each has; when some time was spent, the next one begins in
        another iteration of the loop."""
        async with self._callers.hold(caller), self._lock:
            began = time.monotonic()
            yield
            self._spent += time.monotonic() - began
            if self._spent > _NOTHING_SECONDS:
                self._spent = 0.0
                await asyncio.sleep(0)

    async def run(self, caller: str, scan: Generator[None, None, T]) -> T:
        """``scan`` yields when others may run, and returns what it found."""
        while True:
            async with self.slice(caller):
                try:
                    next(scan)
                except StopIteration as end:
                    found: T = end.value
                    return found
