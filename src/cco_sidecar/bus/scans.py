"""Searches through the past: one of them a turn of the event loop, for a short while, whoever they are for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

# So many entries of the past are looked at before others may run.
ENTRIES = 500
# A filter may cost milliseconds an event; others are let in after so long.
SECONDS = 0.002
# What is over sooner takes nobody's time.
_NOTHING_SECONDS = 0.0005


class Scans:
    def __init__(self) -> None:
        self._turns = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """In order. The next one begins in another turn of the loop."""
        async with self._turns:
            began = time.monotonic()
            yield
            if time.monotonic() - began > _NOTHING_SECONDS:
                await asyncio.sleep(0)

    async def run(self, scan: Generator[None, None, T]) -> T:
        """``scan`` yields when others may run, and returns what it found."""
        while True:
            async with self.turn():
                try:
                    next(scan)
                except StopIteration as end:
                    found: T = end.value
                    return found
