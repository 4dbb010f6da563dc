"""Finds the streams that other sidecars create."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg

from cco_sidecar.bus.jetstream.connection import FAILURES, Connection, away
from cco_sidecar.bus.jetstream.streams import Streams
from cco_sidecar.core.background import Background
from cco_sidecar.core.errors import SidecarError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
_CREATED = "$JS.EVENT.ADVISORY.STREAM.CREATED.*"


class Discovery:
    """``follow`` is called with each project that has a stream; it may raise SidecarError."""

    def __init__(self, connection: Connection, streams: Streams, follow: Callable[[str], Awaitable[object]]) -> None:
        self._connection = connection
        self._streams = streams
        self._follow = follow
        self._background = Background()

    async def start(self) -> None:
        """Follows what is there, and what comes. Raises SidecarError (STR_002)."""
        await self._connection.client.subscribe(_CREATED, cb=self._created)
        await self.look()
        self._background.start(self._keep_looking(), "streams of new projects")

    async def look(self) -> None:
        """Raises SidecarError (STR_002)."""
        try:
            for project in await self._streams.projects():
                await self._follow(project)
        except FAILURES as problem:
            raise away(problem) from problem

    async def end(self) -> None:
        await self._background.end()

    async def _created(self, advisory: Msg) -> None:
        if self._streams.is_ours(advisory.subject.rpartition(".")[2]):
            self._background.start(self._look_again(), "streams of new projects")

    async def _keep_looking(self) -> None:
        # An advisory may be lost.
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look_again()

    async def _look_again(self) -> None:
        try:
            await self.look()
        except SidecarError as problem:
            log.warning("cannot look for new streams: %s", problem)
