"""A port with TLS: connections that say nothing, or half of a handshake, cost others nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Issued, Pair

from cco_sidecar.core import security_log
from cco_sidecar.rpc import listening
from cco_sidecar.rpc.listening import Listener
from cco_sidecar.rpc.tls import Tls


class Echo(asyncio.Protocol):
    """Answers with what it gets."""

    def __init__(self, made: list[Echo]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._made.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Port:
    """A listener, and the clients' side of it."""

    def __init__(self, tls: Tls) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.address = self._socket.getsockname()
        self.made: list[Echo] = []
        self.listener = Listener(self._socket, tls, lambda: Echo(self.made), b"use TLS")
        self._clients: list[socket.socket] = []

    async def connect(self) -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, self.address)
        self._clients.append(client)
        return client

    async def said(self, client: socket.socket, data: bytes) -> bytes:
        """Sends bytes and returns the answer; empty if the connection was closed."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(client, data)
                return await loop.sock_recv(client, 1024)
        return b""

    async def close(self) -> None:
        self.listener.close()
        await self.listener.wait_closed()
        for each in (*self._clients, self._socket):
            each.close()
        for protocol in self.made:
            protocol.transport.abort()


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def issued(authorities: Pair) -> Issued:
    return authorities.trusted.issue("server", "127.0.0.1")


@pytest.fixture
async def port(issued: Issued) -> AsyncIterator[Port]:
    made = Port(Tls(issued.cert, issued.key, None, "h2"))
    yield made
    await made.close()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection is from another machine."""
    monkeypatch.setattr(listening, "_peer", lambda connection: "192.0.2.1")


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    """What the security log says."""
    found: list[dict[str, Any]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(vars(record))

    handler = Kept()
    logger = logging.getLogger(security_log.NAME)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


async def secured(port: Port, ca: Path, *, presented: Issued | None = None, **more: Any) -> str | None:
    """Opens a TLS connection, and returns its version."""
    context = ssl.create_default_context(cafile=ca)
    for name, value in more.items():
        setattr(context, name, value)
    if presented is not None:
        context.load_cert_chain(presented.cert, presented.key)
    reader, writer = await asyncio.open_connection(*port.address, ssl=context, server_hostname="127.0.0.1")
    try:
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        version: str = writer.get_extra_info("ssl_object").version()
        return version
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _hello(ca: Path) -> bytes:
    """The first bytes of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context(cafile=ca).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


async def test_this_machine_may_speak_plainly_or_encrypted(port: Port, authorities: Pair) -> None:
    assert await port.said(await port.connect(), b"plain") == b"plain"
    assert await secured(port, authorities.trusted.cert) == "TLSv1.3"


@pytest.mark.usefixtures("elsewhere")
async def test_another_machine_may_not(port: Port, authorities: Pair, told: list[dict[str, Any]]) -> None:
    assert await port.said(await port.connect(), b"plain") == b"use TLS"
    assert port.made == []
    assert [(each["event"], each["peer"]) for each in told] == [("plaintext_refused", "192.0.2.1")]
    assert await secured(port, authorities.trusted.cert) == "TLSv1.3"


@pytest.mark.parametrize("place", ["here", "elsewhere"])
@pytest.mark.parametrize("kind", ["silent", "half a handshake", "a handshake that ends there"])
async def test_silent_connections_do_not_hold_others_up(
    port: Port, authorities: Pair, monkeypatch: pytest.MonkeyPatch, place: str, kind: str, request: Any
) -> None:
    if place == "elsewhere":
        request.getfixturevalue("elsewhere")
    monkeypatch.setattr(port.listener, "_most", 20)
    hello = _hello(authorities.trusted.cert)
    first = {"silent": b"", "half a handshake": hello[:100], "a handshake that ends there": hello}[kind]
    silent = []
    for _ in range(60):
        silent.append(await port.connect())
        silent[-1].send(first)
    async with asyncio.timeout(2):
        assert await secured(port, authorities.trusted.cert) == "TLSv1.3"
    # The oldest were closed.
    assert await port.said(silent[0], b"") == b"" or kind == "a handshake that ends there"


@pytest.mark.usefixtures("elsewhere")
async def test_a_machine_has_a_share_only(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_MAX_OPENING_OF_PEER", 5)
    clients = [await port.connect() for _ in range(8)]
    assert [await port.said(each, b"plain") for each in clients] == [b""] * 3 + [b"use TLS"] * 5


async def test_the_place_of_a_connection_is_free_again(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port.listener, "_most", 2)
    for _ in range(10):
        assert await port.said(await port.connect(), b"plain") == b"plain"
    async with asyncio.timeout(5):
        while port.listener._tasks():
            await asyncio.sleep(0)


async def test_a_connection_that_says_nothing_is_closed(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_HANDSHAKE_SECONDS", 0.05)
    assert await port.said(await port.connect(), b"") == b""
    assert await port.said(await port.connect(), b"\x16\x03\x01") == b""


async def test_half_a_handshake_is_not_looked_at_until_there_is_more(
    port: Port, authorities: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    peek = listening._peek

    async def counted(connection: socket.socket, size: int) -> bytes:
        nonlocal looks
        found = await peek(connection, size)
        looks += 1
        return found

    monkeypatch.setattr(listening, "_peek", counted)
    client = await port.connect()
    hello = _hello(authorities.trusted.cert)
    for part in (hello[:3], hello[3:50]):
        client.send(part)
        assert await port.said(await port.connect(), b"plain") == b"plain"
    # One for the first byte, one for the head; and one for each of the others.
    assert looks == 4
    client.send(hello[50:])
    assert (await asyncio.get_running_loop().sock_recv(client, 1))[0] == listening._HANDSHAKE_RECORD


async def test_handshakes_begin_one_after_the_other(
    port: Port, authorities: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    begun: list[float] = []
    accepted = loop.connect_accepted_socket

    async def noted(*arguments: Any, **named: Any) -> Any:
        begun.append(loop.time())
        return await accepted(*arguments, **named)

    monkeypatch.setattr(loop, "connect_accepted_socket", noted)
    hello = _hello(authorities.trusted.cert)
    clients = [await port.connect() for _ in range(10)]
    for client in clients:
        client.send(hello)
    for client in clients:
        assert await loop.sock_recv(client, 1)
    between = [after - before for before, after in itertools.pairwise(begun)]
    assert len(between) == 9 and min(between) >= 0.9 * listening._BETWEEN_HANDSHAKES


async def test_accepting_goes_on_after_an_error(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "_PAUSE_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, iter([OSError(24, "Too many open files")])

    async def failing(listening: socket.socket) -> Any:
        for failure in failures:
            raise failure
        return await accept(listening)

    assert await port.said(await port.connect(), b"plain") == b"plain"
    monkeypatch.setattr(loop, "sock_accept", failing)
    for _ in range(3):
        assert await port.said(await port.connect(), b"plain") == b"plain"
    assert "Too many open files" in caplog.text


async def test_a_client_without_the_right_certificate_is_logged(
    authorities: Pair, issued: Issued, told: list[dict[str, Any]]
) -> None:
    port = Port(Tls(issued.cert, issued.key, authorities.trusted.cert, "h2"))
    try:
        for presented in (None, authorities.other.issue("stranger")):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await secured(port, authorities.trusted.cert, presented=presented)
        async with asyncio.timeout(5):
            while len(told) < 2:
                await asyncio.sleep(0)
        assert [each["reason"] for each in told] == [
            "peer did not return a certificate",
            "unable to get local issuer certificate",
        ]
        assert {each["event"] for each in told} == {"tls_refused"}
        assert await secured(port, authorities.trusted.cert, presented=authorities.trusted.issue("friend"))
    finally:
        await port.close()


async def test_tls_before_1_2_is_refused(port: Port, authorities: Pair) -> None:
    def old(context: ssl.SSLContext) -> None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")

    context = ssl.create_default_context(cafile=authorities.trusted.cert)
    with pytest.warns(DeprecationWarning):
        old(context)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*port.address, ssl=context, server_hostname="127.0.0.1")
    assert await secured(port, authorities.trusted.cert, maximum_version=ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
