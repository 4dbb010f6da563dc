"""A worker: one open stream or pull that takes a consumer's deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cco_sidecar.bus.consumers.ledger import Holder, Item
from cco_sidecar.bus.reader import BATCH_BYTES
from cco_sidecar.core.errors import SidecarError
from orchestra.v1.event_service_pb2 import Gap

MAX_TAKEN = 512


class Worker:
    """``capacity`` is how many unsettled deliveries it may have at a time, ``holds`` how many it has."""

    def __init__(self, holder: Holder, capacity: int, gap: Callable[[], Gap | None]) -> None:
        self.holder = holder
        self.capacity = capacity
        self.holds = 0
        self._gap = gap
        # In order; the values mean nothing.
        self._mail: dict[Item, None] = {}
        self._problem: SidecarError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def has_capacity(self) -> bool:
        return self.holds < self.capacity

    def offer(self, item: Item) -> None:
        item.worker = self
        self.holds += 1
        self._mail[item] = None
        self.wake()

    def drop(self, item: Item) -> None:
        """Takes back an item, which it may have taken or not."""
        item.worker = None
        self.holds -= 1
        self._mail.pop(item, None)

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self, problem: SidecarError) -> None:
        """Lets ``take`` raise."""
        self._problem = problem
        self.wake()

    async def take(self, timeout: float) -> tuple[list[Item], Gap | None]:
        """Waits for deliveries up to ``timeout`` seconds; returns what there is. Raises SidecarError (CSM_001) if the
        consumer is deleted."""
        gap = self._gap()
        if not self._mail and gap is None and timeout > 0 and self._problem is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._waiter
            except TimeoutError:
                pass
            finally:
                self._waiter = None
            gap = self._gap()
        if self._problem is not None:
            raise self._problem
        taken: list[Item] = []
        size = 0
        for item in self._mail:
            size += len(item.entry.frame)
            if len(taken) == MAX_TAKEN or (taken and size > BATCH_BYTES):
                break
            taken.append(item)
        for item in taken:
            del self._mail[item]
        return taken, gap

    def untaken(self) -> list[Item]:
        return list(self._mail)
