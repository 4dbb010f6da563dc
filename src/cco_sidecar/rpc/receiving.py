"""Limits requests that are being received, because a request that never ends keeps its bytes in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore, NotInTime

# Time for a request of one megabyte at 140 kbit/s.
SECONDS = 60.0
STRANGERS_SECONDS = 10.0
# How long a request may take while others wait for a slot.
CONTENDED_SECONDS = 1.0


class Receiving:
    """Receives at most ``most`` requests at a time, and ``most_of_one`` per caller. Not thread-safe.

    The others wait unread, each behind the requests of the same caller. When all slots are taken, the oldest requests
    are rejected if they take longer than ``contended_seconds``.
    """

    def __init__(
        self, most: int, most_of_one: int, seconds: float = SECONDS, contended_seconds: float = CONTENDED_SECONDS
    ) -> None:
        self._seconds = seconds
        self._contended_seconds = contended_seconds
        self._places = asyncio.Semaphore(most)
        self._callers = KeyedSemaphore[str](most_of_one)
        # The timeout and start time of each request, oldest first, without those already given a shorter deadline.
        self._arriving: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def one(self, caller: str) -> AsyncIterator[None]:
        """Holds a slot while a request is received. Raises SidecarError (REQ_007) on timeout."""
        try:
            async with self._callers.hold(caller, self._seconds):
                if self._places.locked():
                    self._hurry_the_oldest()
                async with self._places, self._in_time():
                    yield
        except NotInTime:
            raise _late(self._seconds) from None

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        began = asyncio.get_running_loop().time()
        limit = asyncio.timeout(self._seconds)
        self._arriving[limit] = began
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise _late(asyncio.get_running_loop().time() - began) from None
        finally:
            self._arriving.pop(limit, None)

    def _hurry_the_oldest(self) -> None:
        while self._arriving:
            limit = next(iter(self._arriving))
            began = self._arriving.pop(limit)
            # An expired request frees its slot by itself.
            if not limit.expired():
                limit.reschedule(began + self._contended_seconds)
                return


def _late(seconds: float) -> SidecarError:
    return SidecarError(Kind.REQUEST_TIMEOUT, "REQ_007", f"the request was not received within {seconds:.0f} s")


class Admission:
    """Separate limits for authenticated and for unauthenticated callers, so that neither can block the other."""

    def __init__(self) -> None:
        self._known = Receiving(most=256, most_of_one=32)
        self._strangers = Receiving(most=64, most_of_one=4, seconds=STRANGERS_SECONDS)

    def one(self, subject: str, peer: str) -> AbstractAsyncContextManager[None]:
        """Holds a slot while a request is received. Raises SidecarError (REQ_007) on timeout.

        ``subject`` is the owner of the request's token, or empty. ``peer`` is its origin, in gRPC's format.
        """
        # Only this user can connect to the Unix socket, and all its connections have the same peer name.
        known = subject or (peer if peer.startswith("unix:") else "")
        return self._known.one(known) if known else self._strangers.one(peer)
