"""Background tasks that outlive their caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Background:
    """Holds references to tasks until they end, because the event loop keeps only weak ones. Not thread-safe."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Starts work that nobody awaits. A failure is logged with the task's name."""
        task = self._keep(work, name)
        task.add_done_callback(_log_failure)
        return task

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work to completion even if the caller is cancelled, and returns its result."""
        task = self._keep(work, None)
        # Retrieve the exception; otherwise asyncio logs "Task exception was never retrieved".
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Waits for all running tasks."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self) -> None:
        """Cancels all running tasks and waits for them."""
        for task in list(self._tasks):
            task.cancel()
        await self.drain()

    def _keep(self, work: Coroutine[Any, Any, T], name: str | None) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def all_succeed(work: Iterable[Coroutine[Any, Any, object]], timeout: float) -> bool:
    """Runs all work for at most ``timeout`` seconds; returns whether all of it ended without an error."""
    tasks = [asyncio.create_task(each) for each in work]
    if not tasks:
        return True
    done, pending = await asyncio.wait(tasks, timeout=timeout)
    for task in pending:
        task.cancel()
    # Each is looked at: asyncio complains about errors that nobody saw.
    failed = sum(task.exception() is not None for task in done)
    return not pending and not failed


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        log.error("%s failed", task.get_name(), exc_info=problem)
