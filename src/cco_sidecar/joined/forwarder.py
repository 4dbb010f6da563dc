"""Passes connections of agents on this machine to the sidecar, so that they find it where they find every sidecar."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import NamedTuple

log = logging.getLogger(__name__)

_CHUNK = 65_536
_CONNECT_SECONDS = 10.0
_LAST_SECONDS = 10.0
# Each is two descriptors.
_MOST_CONNECTIONS = 500


class Destination(NamedTuple):
    """``context``: for TLS; None without."""

    host: str
    port: int
    context: ssl.SSLContext | None


class Forwarder:
    """A listener on the loopback interface."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, port: int) -> int:
        """Listens, and returns the port; 0 for any. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        try:
            await self._connect(reader, writer)
        finally:
            self._open -= 1

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                name = self._to.host if self._to.context is not None else None
                there, back = await asyncio.open_connection(
                    self._to.host, self._to.port, ssl=self._to.context, server_hostname=name
                )
        except (OSError, TimeoutError) as problem:
            log.warning("an agent cannot reach the sidecar at %s:%d: %s", self._to.host, self._to.port, problem)
            writer.transport.abort()
            return
        ways = {asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))}
        try:
            _, open_ways = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            # What is left for a side that has heard the other's last word.
            await asyncio.wait(open_ways, timeout=_LAST_SECONDS)
        finally:
            for each in ways:
                each.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()
            writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
        else:
            target.close()
    except OSError:
        # The other side is gone, and need not be told.
        target.close()
