"""Group commit of one consumer's state: changes made while it is being written go down together in the next write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.retry import Backoff

log = logging.getLogger(__name__)

_SOON_SECONDS = 1.0


class Saving:
    """``write`` stores the state as it is when it is called. It raises SidecarError."""

    def __init__(self, write: Callable[[], Awaitable[None]], name: str) -> None:
        self._write = write
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self._tasks = Background()
        self._backoff = Backoff()
        self._closed = False
        self._problem: SidecarError | None = None

    async def now(self) -> None:
        """Returns once the state is on disk as it is now. Raises SidecarError (STR_001); it is written later then."""
        if self._problem is not None:
            raise self._problem
        await asyncio.shield(self._request())

    def soon(self) -> None:
        """Writes the state within a second."""
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(_SOON_SECONDS, self._request)

    async def close(self) -> None:
        """Writes what is not on disk yet, if possible."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._request()
        await self._tasks.drain()

    def forget(self, problem: SidecarError) -> None:
        """Writes no more. Whoever waits for a write gets the problem."""
        self._closed = True
        self._problem = problem
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next is not None:
            self._next.set_exception(problem)
            self._next = None

    def _request(self) -> asyncio.Future[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next is None:
            self._next = self._loop.create_future()
            # Nobody may wait for it.
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())
        if not self._writing:
            self._writing = True
            self._tasks.start(self._run(), f"state of {self._name}")
        return self._next

    async def _run(self) -> None:
        try:
            while self._next is not None:
                done, self._next = self._next, None
                try:
                    await self._write()
                except SidecarError as problem:
                    log.warning("the state of %s is not saved yet: %s", self._name, problem)
                    done.set_exception(problem)
                    if not self._closed and self._timer is None:
                        self._timer = self._loop.call_later(self._backoff.failed(), self._request)
                else:
                    self._backoff.succeeded()
                    done.set_result(None)
        finally:
            self._writing = False
