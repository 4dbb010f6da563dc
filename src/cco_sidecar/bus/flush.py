"""Decides when readers are woken.

Sending one event per message limits throughput (about 40 microseconds of Python each). Readers are therefore flushed
together, at an interval that adapts to the load: immediately after a quiet period, otherwise 10 to 25 ms apart.
"""

from __future__ import annotations

import asyncio

from cco_sidecar.bus.subscription import Subscription

_SHORTEST = 0.010
_LONGEST = 0.025
_BUSY_SHARE = 0.4
_SLICE = 32


class FlushScheduler:
    """Wakes the readers of subscriptions that have new events. Not thread-safe.

    Each flush fixes the subscriptions' ``limit``, so that all readers at the same position share the same bytes.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[Subscription, int] = {}
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._interval = 0.0

    def mark(self, subscription: Subscription, head: int) -> None:
        self._dirty[subscription] = head

    def schedule(self, *, urgent: bool = False) -> None:
        """Flushes now if the interval has passed or ``urgent`` is set, otherwise when it passes.

        Does nothing while a flush runs; its end calls this again.
        """
        if self._running or not self._dirty:
            return
        wait = self._started + self._interval - self._loop.time()
        if urgent or wait <= 0:
            self._cancel_timer()
            self._run()
        elif self._timer is None:
            self._timer = self._loop.call_later(wait, self._run)

    def close(self) -> None:
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        self._running = True
        self._started = self._loop.time()
        waiters: list[asyncio.Future[None]] = []
        for subscription, head in self._dirty.items():
            subscription.limit = max(subscription.limit, head)
            subscription.batches.clear()
            waiters += subscription.waiters
            subscription.waiters = []
        self._dirty.clear()
        self._wake(waiters, 0)

    def _wake(self, waiters: list[asyncio.Future[None]], at: int) -> None:
        for waiter in waiters[at : at + _SLICE]:
            if not waiter.done():
                waiter.set_result(None)
        if at + _SLICE < len(waiters):
            self._loop.call_soon(self._wake, waiters, at + _SLICE)
        else:
            # Runs after the readers that were just woken, so that the flush time includes their work.
            self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        took = self._loop.time() - self._started
        self._interval = min(_LONGEST, max(_SHORTEST, took / _BUSY_SHARE))
        self._running = False
        self.schedule()
