"""What one sidecar does for all: it is taken up with the lead, and dropped when another takes the lead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from cco_sidecar.core.errors import SidecarError

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


class Duties:
    """Takes the duties in order, and drops them in reverse. Not thread-safe."""

    def __init__(self) -> None:
        self._duties: Sequence[Duty] = ()
        self._lock = asyncio.Lock()
        self._open = False
        # Whether all have been recovered.
        self.held = False

    def set(self, *duties: Duty) -> None:
        self._duties = duties

    async def take(self) -> None:
        """Recovers the duties, and starts them once ``open`` was called. Raises SidecarError."""
        async with self._lock:
            if self.held:
                return
            try:
                for duty in self._duties:
                    await duty.recover()
            except SidecarError:
                await self._drop()
                raise
            self.held = True
            if self._open:
                self._start()

    def open(self) -> None:
        """Starts what has been recovered; from now on ``take`` starts it."""
        self._open = True
        if self.held:
            self._start()

    async def drop(self) -> None:
        """Drops the duties. Another sidecar leads."""
        async with self._lock:
            if self.held:
                await self._drop()

    def _start(self) -> None:
        for duty in self._duties:
            duty.start()

    async def _drop(self) -> None:
        self.held = False
        for duty in reversed(self._duties):
            await duty.drop()
