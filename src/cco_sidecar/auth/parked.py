"""How many calls of one agent may wait at the same time: long polls and open streams."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore, NotInTime
from cco_sidecar.core.principal import Principal

MOST_PARKED = 64
# One too many waits so long for a place: who asks again at once is not the busiest of all.
_WAIT_SECONDS = 1.0


class Parked:
    def __init__(self, most: int, what: str, wait_seconds: float = _WAIT_SECONDS) -> None:
        self._most = most
        self._what = what
        self._wait_seconds = wait_seconds
        self._parked = KeyedSemaphore[str](most)

    @asynccontextmanager
    async def one(self, principal: Principal) -> AsyncIterator[None]:
        """While a call waits. Raises SidecarError (RATE_002) for one too many; the operator is not limited."""
        if principal.operator:
            yield
            return
        try:
            # Not all for the same time, or all of them would be back at the same time.
            seconds = self._wait_seconds * random.uniform(0.5, 1.5)
            async with self._parked.hold(principal.subject, seconds):
                yield
        except NotInTime:
            raise self._refusal(principal) from None

    def _refusal(self, principal: Principal) -> SidecarError:
        return SidecarError(
            Kind.RATE_LIMITED,
            "RATE_002",
            f"'{principal.subject}' has {self._most} {self._what} open; end one of them first",
            details={"limit": self._most, "retry_after_seconds": self._wait_seconds},
            retry_after_seconds=self._wait_seconds,
        )
