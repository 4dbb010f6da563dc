"""Requests on their way in: one that never ends keeps what came of it in memory, so that few may be under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore, NotInTime

# A request of a megabyte takes as long at 140 kbit/s.
SECONDS = 60.0
STRANGERS_SECONDS = 10.0
# Nobody keeps a place for longer while others wait for one.
CONTENDED_SECONDS = 1.0


class Receiving:
    """``most`` requests arrive at a time, ``most_of_one`` of each caller; the others wait unread, each behind its
    caller's own. When all places are taken, those that have taken longest are refused."""

    def __init__(
        self, most: int, most_of_one: int, seconds: float = SECONDS, contended_seconds: float = CONTENDED_SECONDS
    ) -> None:
        self._seconds = seconds
        self._contended_seconds = contended_seconds
        self._places = asyncio.Semaphore(most)
        self._callers = KeyedSemaphore[str](most_of_one)
        # The oldest first, and when each began; without those that have been hurried.
        self._arriving: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def one(self, caller: str) -> AsyncIterator[None]:
        """While a request arrives. Raises SidecarError (REQ_007) when it does not come in time."""
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
            # One whose time has just run out gives its place back by itself.
            if not limit.expired():
                limit.reschedule(began + self._contended_seconds)
                return


def _late(seconds: float) -> SidecarError:
    return SidecarError(Kind.REQUEST_TIMEOUT, "REQ_007", f"the request was not received within {seconds:.0f} s")


class Admission:
    """Callers whose token is known, and strangers: neither takes the others' places."""

    def __init__(self) -> None:
        self._known = Receiving(most=256, most_of_one=32)
        self._strangers = Receiving(most=64, most_of_one=4, seconds=STRANGERS_SECONDS)

    def one(self, subject: str, peer: str) -> AbstractAsyncContextManager[None]:
        """``subject``: whose token came with the request, or nothing; ``peer``: where it comes from, in gRPC's form."""
        # The socket is the user's own, and all its connections have one name.
        known = subject or (peer if peer.startswith("unix:") else "")
        return self._known.one(known) if known else self._strangers.one(peer)
