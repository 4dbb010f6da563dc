"""Work that goes on whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Background:
    """Keeps its tasks until they have ended: the event loop itself holds them weakly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Work that nobody awaits; its failure is logged."""
        task = self._keep(work, name)
        task.add_done_callback(_log_failure)
        return task

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that is done to its end also when the caller goes away."""
        task = self._keep(work, None)
        # Looked at, so that a failure which no caller is left for is none of asyncio's complaints.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Waits for what runs."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self) -> None:
        """Cancels what runs."""
        for task in list(self._tasks):
            task.cancel()
        await self.drain()

    def _keep(self, work: Coroutine[Any, Any, T], name: str | None) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        log.error("%s failed", task.get_name(), exc_info=problem)
