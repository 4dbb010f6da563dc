"""What one sidecar does for all: it is taken up with the lead, and dropped when another takes the lead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

log = logging.getLogger(__name__)


class Duty(Protocol):
    """A part of the leader's work."""

    async def recover(self) -> None:
        """Loads what an earlier leader stored. Raises SidecarError."""
        ...

    def start(self) -> None:
        """Starts to act. The transports are open."""
        ...

    async def drop(self) -> None:
        """Stops to act and forgets everything; another leader may have it already. Stores nothing."""
        ...


def always() -> int:
    """The term of a sidecar of its own."""
    return 1


class Duties:
    """Takes the duties in order, and drops them in reverse. Not thread-safe."""

    def __init__(self) -> None:
        self._duties: Sequence[Duty] = ()
        self._lock = asyncio.Lock()
        self._open = False
        # The term for which all have been recovered; 0 for none.
        self.term = 0

    def set(self, *duties: Duty) -> None:
        self._duties = duties

    async def take(self, term: Callable[[], int] = always) -> None:
        """Recovers the duties for the current ``term``, and starts them once ``open`` was called. If the term is
        another one by then, what was read is dropped again. Raises SidecarError."""
        async with self._lock:
            wanted = term()
            if not wanted or self.term == wanted:
                return
            await self._drop()
            try:
                for duty in self._duties:
                    await duty.recover()
            except BaseException:
                await self._drop()
                raise
            if term() != wanted:
                # Somebody else led meanwhile, and may have changed what was read.
                await self._drop()
                return
            self.term = wanted
            if self._open:
                self._start()

    def open(self) -> None:
        """Starts what has been recovered; from now on ``take`` starts it."""
        self._open = True
        if self.term:
            self._start()

    async def drop(self) -> None:
        """Drops the duties. Another sidecar leads."""
        async with self._lock:
            if self.term:
                await self._drop()

    def _start(self) -> None:
        for duty in self._duties:
            duty.start()

    async def _drop(self) -> None:
        self.term = 0
        for duty in reversed(self._duties):
            try:
                await duty.drop()
            except Exception:
                log.exception("a duty of the leader could not be dropped")
