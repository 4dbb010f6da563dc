"""Limits how many calls of one agent may wait at the same time: long polls and open streams."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore, NotInTime
from cco_sidecar.core.principal import Principal

MAX_PARKED = 64
# How long a call over the limit waits for a slot, so that an immediate retry cannot become a busy loop.
_WAIT_SECONDS = 1.0


class Parked:
    """Counts waiting calls per subject. ``what`` names them in error messages."""

    def __init__(self, most: int, what: str, wait_seconds: float = _WAIT_SECONDS) -> None:
        self._most = most
        self._what = what
        self._wait_seconds = wait_seconds
        self._parked = KeyedSemaphore[str](most)

    @asynccontextmanager
    async def one(self, principal: Principal) -> AsyncIterator[None]:
        """Holds a slot while a call waits. Raises SidecarError (RATE_002) when none is free.

        The operator is not limited.
        """
        if principal.operator:
            yield
            return
        try:
            # Add jitter, so that rejected callers do not all retry at the same moment.
            seconds = self._wait_seconds * random.uniform(0.5, 1.5)
            async with self._parked.hold(principal.subject, seconds):
                yield
        except NotInTime:
            raise self._refusal(principal) from None

    def _refusal(self, principal: Principal) -> SidecarError:
        return SidecarError(
            Kind.RATE_LIMITED,
            "RATE_002",
            f"'{principal.subject}' has {self._most} {self._what} open; close one first",
            details={"limit": self._most, "retry_after_seconds": self._wait_seconds},
            retry_after_seconds=self._wait_seconds,
        )
