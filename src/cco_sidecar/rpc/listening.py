"""Accepts connections on a port that speaks TLS to other machines, and with or without TLS to this one.

Programs on this machine (agents, probes, a reverse proxy) reach a loopback address without a certificate; nobody else
can read that traffic.

A connection that says nothing, or only half of a handshake, must not cost others more than a moment. It is handed to a
protocol once its first record is there; handshakes begin one after the other, because each computes on the event loop;
and of those that have not come so far, the oldest is closed when there are too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable

from cco_sidecar.core import descriptors, security_log
from cco_sidecar.core.hosts import is_loopback
from cco_sidecar.rpc.tls import Tls

log = logging.getLogger(__name__)

# Time for the first record, and for the handshake.
_HANDSHAKE_SECONDS = 10.0
# Time for the client to confirm that the connection ends; it occupies a descriptor until then.
_SHUTDOWN_SECONDS = 1.0
# The most connections whose handshake has not ended, in all and of another machine.
_MAX_OPENING = 1024
_MAX_OPENING_OF_PEER = 128
# An RSA key of 4096 bits takes five milliseconds for a handshake.
_BETWEEN_HANDSHAKES = 0.002
# After an error such as too many open files.
_PAUSE_SECONDS = 0.5
_MAX_UNREAD = 64 * 1024
# RFC 8446, section 5.1: the type of a handshake record, the size of a record's head, and the most that follows.
_HANDSHAKE_RECORD = 0x16
_RECORD_HEAD = 5
_MAX_RECORD = 2**14


class _Opening:
    """A connection that is not handed over yet, or whose handshake goes on. ``peer`` is empty for this machine."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.peer = _peer(connection)
        self.handed_over = False
        self.task: asyncio.Task[None]


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
        self._most = min(_MAX_OPENING, descriptors.soft_limit() // 8)
        # By peer, the oldest first.
        self._opening: dict[str, dict[_Opening, None]] = {}
        # Handshakes with this machine do not wait for those with others.
        self._turns = {True: asyncio.Lock(), False: asyncio.Lock()}
        self._accepting = asyncio.get_running_loop().create_task(self._accept(), name="accept")

    def close(self) -> None:
        self._accepting.cancel()
        for task in self._tasks():
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(self._accepting, *self._tasks(), return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [each.task for of_peer in self._opening.values() for each in of_peer]

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._socket)
            except OSError as problem:
                log.warning("cannot accept a connection: %s", problem)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._begin(_Opening(connection))
            # A flood of connections must not keep the loop.
            await asyncio.sleep(0)

    def _begin(self, opening: _Opening) -> None:
        of_peer = self._opening.setdefault(opening.peer, {})
        if sum(map(len, self._opening.values())) >= self._most:
            self._give_up(max(self._opening.values(), key=len))
        elif opening.peer and len(of_peer) >= _MAX_OPENING_OF_PEER:
            self._give_up(of_peer)
        of_peer = self._opening.setdefault(opening.peer, {})
        of_peer[opening] = None
        opening.task = asyncio.get_running_loop().create_task(self._open(opening), name="handshake")
        opening.task.add_done_callback(lambda _: self._ended(opening))

    def _give_up(self, of_peer: dict[_Opening, None]) -> None:
        oldest = next(iter(of_peer))
        oldest.task.cancel()
        self._forget(oldest)

    def _ended(self, opening: _Opening) -> None:
        self._forget(opening)
        if not opening.handed_over:
            opening.connection.close()

    def _forget(self, opening: _Opening) -> None:
        of_peer = self._opening.get(opening.peer)
        if of_peer is not None:
            of_peer.pop(opening, None)
            if not of_peer:
                del self._opening[opening.peer]

    async def _open(self, opening: _Opening) -> None:
        connection = opening.connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                is_tls = await _first_record(connection)
            if is_tls is None:
                return
            if is_tls:
                await self._shake_hands(opening)
            elif not opening.peer:
                opening.handed_over = True
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
            else:
                security_log.refused("plaintext_refused", peer=opening.peer)
                # What is left unread would make the kernel discard the refusal.
                connection.recv(_MAX_UNREAD)
                await asyncio.get_running_loop().sock_sendall(connection, self._refusal)
        except ssl.SSLError as problem:
            security_log.refused("tls_refused", peer=opening.peer or "this machine", reason=_reason(problem))
        except (OSError, TimeoutError) as problem:
            log.debug("no connection: %s", problem)

    async def _shake_hands(self, opening: _Opening) -> None:
        loop = asyncio.get_running_loop()
        async with self._turns[not opening.peer]:
            opening.handed_over = True
            handshake = loop.create_task(
                loop.connect_accepted_socket(
                    self._protocol,
                    opening.connection,
                    ssl=self._tls.context(),
                    ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
                ),
                name="handshake",
            )
            try:
                await asyncio.sleep(_BETWEEN_HANDSHAKES)
            except asyncio.CancelledError:
                handshake.cancel()
                raise
        await handshake


async def _first_record(connection: socket.socket) -> bool | None:
    """Waits for the first record, which stays to be read. Returns whether it begins a TLS handshake; None if it does
    not come whole."""
    first = await _peek(connection, 1)
    if not first:
        return None
    if first[0] != _HANDSHAKE_RECORD:
        return False
    head = await _peek(connection, _RECORD_HEAD)
    size = int.from_bytes(head[3:])
    if len(head) < _RECORD_HEAD or size > _MAX_RECORD:
        return None
    return len(await _peek(connection, _RECORD_HEAD + size)) == _RECORD_HEAD + size or None


async def _peek(connection: socket.socket, size: int) -> bytes:
    """Waits for ``size`` bytes, which stay to be read. Returns fewer at the end of what comes."""
    loop = asyncio.get_running_loop()
    # Otherwise what is there already would wake us up all the time (socket(7)).
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    readable = loop.create_future()
    loop.add_reader(connection.fileno(), _resolve, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection.fileno())
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return connection.recv(size, socket.MSG_PEEK)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _reason(problem: ssl.SSLError) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return problem.verify_message
    return (problem.reason or str(problem)).replace("_", " ").lower()


def _peer(connection: socket.socket) -> str:
    """Returns the address of the other machine; empty if both ends are on this one."""
    try:
        peer, own = connection.getpeername()[0], connection.getsockname()[0]
    except OSError:
        return "unknown"
    return "" if peer == own or is_loopback(peer.removeprefix("::ffff:")) else peer
