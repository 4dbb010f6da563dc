"""Accepts connections on a port that speaks TLS to other machines, and with or without TLS to this one.

Programs on this machine (agents, probes, a reverse proxy) reach a loopback address without a certificate; nobody else
can read that traffic.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from cco_sidecar.core.hosts import is_loopback
from cco_sidecar.rpc.tls import Tls

log = logging.getLogger(__name__)

# Time for the first byte, and for the handshake.
_HANDSHAKE_SECONDS = 10.0
_MAX_HANDSHAKES = 1024
# After an error such as too many open files.
_PAUSE_SECONDS = 0.5
_MAX_UNREAD = 64 * 1024
# The first byte of a TLS connection (RFC 8446, section 5.1: a handshake record).
_HANDSHAKE_RECORD = 0x16


class Listener:
    """Hands connections to protocols, as asyncio.Server does. Started by its constructor; ``close`` ends it.

    ``refusal`` is sent to another machine that speaks without TLS.
    """

    def __init__(
        self, listening: socket.socket, tls: Tls, protocol: Callable[[], asyncio.Protocol], refusal: bytes = b""
    ) -> None:
        listening.setblocking(False)
        self._socket = listening
        self._tls = tls
        self._protocol = protocol
        self._refusal = refusal
        self._opening: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(_MAX_HANDSHAKES)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(), name="accept")

    def close(self) -> None:
        self._accepting.cancel()
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(self._accepting, *self._opening, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._free.acquire()
            try:
                connection, _ = await loop.sock_accept(self._socket)
            except OSError as problem:
                self._free.release()
                log.warning("cannot accept a connection: %s", problem)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except BaseException:
                self._free.release()
                raise
            task = loop.create_task(self._open(connection), name="handshake")
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._free.release()

    async def _open(self, connection: socket.socket) -> None:
        handed_over = False
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                first = await _first_byte(connection)
            if first is None:
                return
            if first == _HANDSHAKE_RECORD:
                handed_over = True
                await self._hand_over(connection, encrypted=True)
            elif _is_from_here(connection):
                handed_over = True
                await self._hand_over(connection, encrypted=False)
            else:
                # What is left unread would make the kernel discard the refusal.
                connection.recv(_MAX_UNREAD)
                await asyncio.get_running_loop().sock_sendall(connection, self._refusal)
        except (OSError, TimeoutError) as problem:
            # A client that goes away, or does not trust us, or has no certificate.
            log.debug("no TLS connection: %s", problem)
        finally:
            if not handed_over:
                connection.close()

    async def _hand_over(self, connection: socket.socket, *, encrypted: bool) -> None:
        loop = asyncio.get_running_loop()
        if encrypted:
            await loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._tls.context(), ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        else:
            await loop.connect_accepted_socket(self._protocol, connection)


async def _first_byte(connection: socket.socket) -> int | None:
    """Returns the first byte, which stays to be read; None if the connection was closed."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            found = connection.recv(1, socket.MSG_PEEK)
            return found[0] if found else None
        except BlockingIOError:
            pass
        readable = loop.create_future()
        loop.add_reader(connection.fileno(), _resolve, readable)
        try:
            await readable
        finally:
            loop.remove_reader(connection.fileno())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _is_from_here(connection: socket.socket) -> bool:
    """Reports whether both ends are on this machine."""
    with contextlib.suppress(OSError):
        peer, own = connection.getpeername()[0], connection.getsockname()[0]
        return peer == own or is_loopback(peer.removeprefix("::ffff:"))
    return False
