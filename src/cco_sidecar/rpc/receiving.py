"""Requests on their way in: one that never ends keeps what came of it in memory, so that few may be under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.turns import Turns

# A request of a megabyte takes as long at 140 kbit/s.
SECONDS = 60.0
_MOST = 256
_MOST_OF_A_CALLER = 32
# Of a connection that has shown no token.
_MOST_OF_A_STRANGER = 4
# Nobody keeps a place for longer while others wait for one.
_CONTENDED_SECONDS = 1.0


class Receiving:
    """``most`` requests arrive at a time, and a few of each caller; the others wait unread, each behind its caller's
    own. When all places are taken, those that have taken longest are refused."""

    def __init__(
        self, most: int = _MOST, seconds: float = SECONDS, contended_seconds: float = _CONTENDED_SECONDS
    ) -> None:
        self._seconds = seconds
        self._contended_seconds = contended_seconds
        self._places = asyncio.Semaphore(most)
        self._callers, self._strangers = Turns[str](_MOST_OF_A_CALLER), Turns[str](_MOST_OF_A_STRANGER)
        # The oldest first, and when each began; without those that have been hurried.
        self._arriving: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def one(self, subject: str, peer: str) -> AsyncIterator[None]:
        """While a request arrives. ``subject``: whose token came with it, or nothing; ``peer``: the connection. Raises
        SidecarError (REQ_007) when it does not come in time."""
        async with self._callers.one(subject) if subject else self._strangers.one(peer):
            if self._places.locked():
                self._hurry_the_oldest()
            async with self._places, self._in_time():
                yield

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
            took = asyncio.get_running_loop().time() - began
            raise SidecarError(
                Kind.REQUEST_TIMEOUT, "REQ_007", f"the request was not received within {took:.0f} s"
            ) from None
        finally:
            self._arriving.pop(limit, None)

    def _hurry_the_oldest(self) -> None:
        if self._arriving:
            limit = next(iter(self._arriving))
            limit.reschedule(self._arriving.pop(limit) + self._contended_seconds)
