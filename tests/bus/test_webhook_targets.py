"""Which hosts and addresses a webhook may reach, also when the answers of the DNS change."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.receivers import receiving

from cco_sidecar.bus.webhooks.sender import Outcome, Sender
from cco_sidecar.bus.webhooks.target import checked
from cco_sidecar.core.hosts import AllowedHosts, is_public


class Names:
    """A DNS whose answers a test chooses; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
async def senders() -> AsyncIterator[list[Sender]]:
    made: list[Sender] = []
    yield made
    for each in made:
        await each.close()


async def test_a_name_that_leads_to_a_private_address_is_not_called(senders: list[Sender]) -> None:
    with receiving() as inner:
        sender = Sender(AllowedHosts(["hooks.example.com"]), Names(["127.0.0.1"], ["169.254.169.254"], ["::1"]))
        senders.append(sender)
        for scheme in ("http", "https", "https"):
            outcome = await sender.post(f"{scheme}://hooks.example.com:{inner.port}/", {}, b"{}", 5)
            assert outcome.status == 0 and "hooks.example.com has no address that is" in outcome.failure
        assert inner.requests == []


async def test_the_address_that_was_checked_is_the_one_that_is_used(senders: list[Sender]) -> None:
    """The name is resolved once for each connection: a second answer could be another one."""
    with receiving() as allowed:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        sender = Sender(AllowedHosts(["hooks.example.com", "127.0.0.0/8"]), names)
        senders.append(sender)
        outcome = await sender.post(f"http://hooks.example.com:{allowed.port}/x?y=1", {}, b"{}", 5)
        assert (outcome.status, names.asked) == (204, ["hooks.example.com"])
        assert allowed.requests[0].headers["host"] == f"hooks.example.com:{allowed.port}"
        assert allowed.requests[0].path == "/x?y=1"


async def test_of_several_addresses_only_those_that_are_allowed_are_tried(senders: list[Sender]) -> None:
    with receiving() as allowed:
        # Nothing listens at 127.0.0.2.
        names = Names(["10.0.0.1", "127.0.0.2", "127.0.0.1"])
        sender = Sender(AllowedHosts(["hooks.example.com", "127.0.0.0/8"]), names)
        senders.append(sender)
        assert (await sender.post(f"http://hooks.example.com:{allowed.port}/", {}, b"{}", 5)).status == 204


async def test_an_address_that_swallows_packets_leaves_time_for_the_next(senders: list[Sender]) -> None:
    with receiving() as allowed, socket.socket() as silent:
        silent.bind(("127.0.0.2", allowed.port))
        silent.listen(0)
        # Once its queue is full, whoever connects is not answered.
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(("127.0.0.2", allowed.port))
        names = Names(["127.0.0.2", "127.0.0.1"])
        senders.append(sender := Sender(AllowedHosts(["hooks.example.com", "127.0.0.0/8"]), names))
        outcome = await sender.post(f"http://hooks.example.com:{allowed.port}/", {}, b"{}", 1)
        for each in crowd:
            each.close()
        assert outcome.status == 204


async def test_a_name_is_looked_up_once_for_all_who_wait(
    senders: list[Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup cannot be cancelled: those that took too long would use up all threads."""
    asked, answer = [], threading.Event()

    def slow(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        answer.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    senders += [Sender(AllowedHosts(["slow.example"])) for _ in range(3)]
    late = [sender.post("https://slow.example/", {}, b"{}", 0.05) for sender in senders for _ in range(4)]
    assert {each.failure for each in await asyncio.gather(*late)} == {"no answer within 0.05 s"}
    waiting = asyncio.ensure_future(senders[0].post("https://slow.example/", {}, b"{}", 5))
    await asyncio.sleep(0)
    answer.set()
    assert (await waiting).failure == "the host is unknown" and asked == ["slow.example"]


async def test_plain_http_does_not_reach_public_addresses(senders: list[Sender]) -> None:
    sender = Sender(AllowedHosts(["hooks.example.com"]), Names(["93.184.215.14"]))
    senders.append(sender)
    outcome = await sender.post("http://hooks.example.com/", {}, b"{}", 5)
    assert "http reaches only those" in outcome.failure


async def test_what_a_receiver_does_wrong_is_said(senders: list[Sender]) -> None:
    sender = Sender(AllowedHosts(["localhost"]))
    senders.append(sender)
    with receiving() as receiver:
        # A TLS handshake with a server that speaks plain HTTP.
        answer = await sender.post(f"https://127.0.0.1:{receiver.port}/", {}, b"{}", 5)
        assert answer.status == 0 and answer.failure
    closed = await sender.post(receiver.url, {}, b"{}", 5)
    assert closed.failure == "cannot connect"
    with receiving() as receiver:
        late = threading.Event()
        receiver.answer = lambda request: (204 if late.wait(30) else 500, {})
        assert (await sender.post(receiver.url, {}, b"{}", 0.05)).failure == "no answer within 0.05 s"
        late.set()


async def raw_answer(answer: bytes, sender: Sender, timeout: float = 5) -> Outcome:
    """What becomes of an answer, given as bytes; the connection is closed after it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}", timeout)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("120", 120),
        ("99999999999999999999", 999_999_999),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +9999999999999", None),
        ("soon", None),
        ("-1", None),
    ],
)
async def test_a_receiver_says_when_to_come_again(senders: list[Sender], after: str, expected: float | None) -> None:
    senders.append(sender := Sender(AllowedHosts(["localhost"])))
    for status in (503, 429):
        head = f"HTTP/1.1 {status} Later\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n"
        outcome = await raw_answer(head.encode(), sender)
        assert (outcome.status, outcome.retry_after) == (status, expected)
    broken = await raw_answer(b"HTTP/1.1 500 No\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", sender)
    assert broken == Outcome(500, "HTTP 500")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["cut short", "no chunk", "tiny chunks", "interim answers"],
)
async def test_the_status_decides_whatever_follows(senders: list[Sender], answer: bytes) -> None:
    senders.append(sender := Sender(AllowedHosts(["localhost"])))
    assert (await raw_answer(answer, sender)).failure == ""


async def test_an_answer_without_end_is_not_read(senders: list[Sender]) -> None:
    senders.append(sender := Sender(AllowedHosts(["localhost"])))
    sent = 0
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            while not writer.is_closing():
                writer.write(bytes(65_536))
                sent += 65_536
                await writer.drain()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}", 5)).failure == ""
        await over.wait()
    # What the kernel keeps for both, and no more.
    assert sent < 16 * 2**20


async def test_interim_answers_without_end_do_not_hold_up_the_rest(senders: list[Sender]) -> None:
    senders.append(sender := Sender(AllowedHosts(["localhost"])))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    outcome = await raw_answer(b"HTTP/1.1 100 C\r\n\r\n" * 50_000, sender)
    beside.cancel()
    # It is read in pieces of 2 kB, up to 128 kB.
    assert outcome.status == 0 and turns > 50


async def test_a_certificate_of_nobody_is_not_accepted(senders: list[Sender], tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    day = timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(datetime.now(UTC) - day).not_valid_after(datetime.now(UTC) + day)
    )
    made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "both.pem").write_bytes(certificate + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "both.pem")
    senders.append(sender := Sender(AllowedHosts(["localhost"])))
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(10))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        outcome = await sender.post(f"https://localhost:{port}/", {}, b"{}", 5)
    assert outcome.failure == "its certificate is not accepted: self-signed certificate" and asked == []


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
     "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:53aa:64c::1", "2001:db8::1"],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_of_the_internet(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_names_and_those_below_them() -> None:
    hosts = AllowedHosts(["Hooks.example.com", "*.ci.example", "10.2.0.0/16", "localhost", "[::2]"])
    assert all(map(hosts.has_name, ["hooks.example.com", "a.ci.example", "a.b.ci.example", "localhost"]))
    assert not any(map(hosts.has_name, ["example.com", "x.hooks.example.com", "ci.example", "evil-ci.example"]))
    listed = ["10.2.3.4", "127.0.0.9", "::1", "::2", "::ffff:10.2.0.1"]
    assert all(hosts.has_address(ipaddress.ip_address(each)) for each in listed)
    assert not hosts.has_address(ipaddress.ip_address("10.3.0.1"))


@pytest.mark.parametrize(
    "entry", ["https://x.example", "x.example:8080", "*", "*.", "a..b", "10.0.0.1/8", "300.1.1.1", ""]
)
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="expected names such as"):
        AllowedHosts([entry])


async def test_a_host_that_is_no_longer_allowed_is_not_called(senders: list[Sender]) -> None:
    sender = Sender(AllowedHosts([]))
    senders.append(sender)
    outcome = await sender.post("http://127.0.0.1/", {}, b"{}", 5)
    assert outcome.status == 0 and "not among the hosts that webhooks may reach" in outcome.failure


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://a.example/", "a.example"), ("https://a.example:443/", "a.example"), ("http://a.example:443/", "a.example:443"),
     ("https://[::1]/x", "[::1]"), ("http://[::1]:8080/", "[::1]:8080"), ("https://a.example./", "a.example")],
)  # fmt: skip
def test_the_host_header_is_that_of_the_url(url: str, host: str) -> None:
    assert checked(url, AllowedHosts(["a.example", "::1"])).authority == host
