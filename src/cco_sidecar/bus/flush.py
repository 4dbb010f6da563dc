"""Decides when readers are woken.

A message costs some 15 microseconds, however many events it holds. Readers are therefore flushed together, at an
interval that adapts to the load: immediately when the last flush was quick, at most 25 ms apart when they take long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cco_sidecar.bus.reader import Reader
from cco_sidecar.bus.subscription import Subscription

_LONGEST = 0.025
# The share of one core that flushes may take.
_BUSY_SHARE = 0.5
# How long a flush may hold the event loop.
_PAUSE_SECONDS = 0.002


class FlushScheduler:
    """Hands new events to the readers of subscriptions that have some. Not thread-safe.

    ``push(readers, at, pause)`` serves readers from index ``at`` on until the time ``pause``, and returns the next one.
    Each flush fixes the subscriptions' ``limit``, so that all readers at the same position share the same bytes.
    """

    def __init__(self, push: Callable[[Sequence[Reader], int, float], int]) -> None:
        self._push = push
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[Subscription, int] = {}
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._cpu_before = 0.0
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
        self._cpu_before = time.thread_time()
        waiting: list[Reader] = []
        for subscription, head in self._dirty.items():
            subscription.limit = max(subscription.limit, head)
            subscription.batches.clear()
            waiting += subscription.waiters
        self._dirty.clear()
        self._hand_out(waiting, 0)

    def _hand_out(self, waiting: list[Reader], at: int) -> None:
        at = self._push(waiting, at, time.monotonic() + _PAUSE_SECONDS)
        if at < len(waiting):
            self._loop.call_soon(self._hand_out, waiting, at)
        else:
            # Runs after the readers that were woken, so that the time includes their work.
            self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        took = time.thread_time() - self._cpu_before
        self._interval = min(_LONGEST, took / _BUSY_SHARE)
        self._running = False
        self.schedule()
