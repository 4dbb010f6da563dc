"""Limits in bytes and time before a caller is known, whoever it is and however slowly it sends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from tests.support.sidecars import serving, small_repository

from cco_sidecar.gateway import connections
from cco_sidecar.testing.process import SidecarProcess


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    base = tmp_path_factory.mktemp("limits")
    with serving(base, small_repository(base / "root")) as running:
        yield running


def connect(sidecar: SidecarProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sidecar.port), 20)


def answer(connection: socket.socket) -> bytes:
    """Everything that arrives until the other side closes."""
    found = b""
    while data := connection.recv(65536):
        found += data
    return found


@pytest.mark.parametrize("start", [b"GET /health HTTP/1.1\r\nX-Endless: ", b"GET /", b"GET /health HTTP/1.1\r\n"])
def test_endless_headers_are_refused(sidecar: SidecarProcess, start: bytes) -> None:
    with connect(sidecar) as connection:
        connection.sendall(start)
        filler = b"X-A: b\r\n" * 1000 if start.endswith(b"\r\n") else b"a" * 8000
        sent = 0
        try:
            while sent < 50 * connections.MAX_HEADER_BYTES:
                connection.sendall(filler)
                sent += len(filler)
        except OSError:
            pass
        assert sent < 50 * connections.MAX_HEADER_BYTES, "the connection was closed early"


def test_the_refusal_says_what_was_too_large(sidecar: SidecarProcess) -> None:
    with connect(sidecar) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * (connections.MAX_HEADER_BYTES + 1))
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431") and json.loads(body)["code"] == "REQ_008"


@pytest.mark.parametrize(
    "line", [b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n", b"CONNECT / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n"]
)
def test_connect_is_refused_once(sidecar: SidecarProcess, line: bytes) -> None:
    log = sidecar.storage / "logs" / "orchestration.log"
    before = log.stat().st_size
    with connect(sidecar) as connection:
        connection.sendall(line + b"\r\n" + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and "CONNECT" in json.loads(body)["message"]
    assert log.stat().st_size == before


def test_headers_of_the_usual_size_pass_and_bodies_do_not_count_as_headers(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent()
    text = "x" * 900_000
    body = {
        "issue_id": agent.issue,
        "agent_type": agent.type,
        "result": {"status": "success", "artifacts": {"a": text}},
    }
    headers = agent.headers | {"X-Long": "a" * 8000}
    for _ in range(3):
        stored = sidecar.request("POST", "/api/results", headers=headers, json=body)
        assert stored.status_code == 201, stored.text


def test_a_connection_without_a_request_is_closed(sidecar: SidecarProcess) -> None:
    with connect(sidecar) as silent, connect(sidecar) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: lo")
        started = time.monotonic()
        silent.settimeout(connections.HEADER_SECONDS + 10)
        slow.settimeout(connections.HEADER_SECONDS + 10)
        with suppress(ConnectionResetError):
            assert silent.recv(1) == b""
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < connections.HEADER_SECONDS + 9


def test_idle_connections_do_not_block_others(sidecar: SidecarProcess) -> None:
    with ExitStack() as held:
        for _ in range(1200):
            held.enter_context(connect(sidecar))
        assert sidecar.request("GET", "/health").status_code == 200


def test_an_oversized_body_is_refused_while_it_is_still_being_sent(sidecar: SidecarProcess) -> None:
    """A client that sends everything before it reads gets the answer, not a connection reset."""
    size = 12 * 2**20
    agent = sidecar.agent()
    with connect(sidecar) as connection:
        head = (
            f"POST /api/results HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {agent.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        )
        connection.sendall(head.encode())
        connection.sendall(b"x" * size)
        told = answer(connection)
    assert told.startswith(b"HTTP/1.1 413") and b"REQ_004" in told


def test_a_page_of_results_is_bounded_in_bytes(sidecar: SidecarProcess) -> None:
    """Large lists are sent in several pages."""
    agent = sidecar.agent()
    body = {
        "issue_id": agent.issue,
        "agent_type": agent.type,
        "result": {"status": "success", "artifacts": {"a": "x" * 10**6}},
    }
    for _ in range(3):
        assert sidecar.request("POST", "/api/results", headers=agent.headers, json=body).status_code == 201
    page = sidecar.request("GET", f"/api/results?issue_id={agent.issue}", headers=agent.headers).json()
    assert len(page["results"]) == 1 and page["next_cursor"], "one page holds a megabyte"
    rest = sidecar.request(
        "GET", f"/api/results?issue_id={agent.issue}&cursor={page['next_cursor']}", headers=agent.headers
    )
    assert len(rest.json()["results"]) == 1


def test_long_polls_are_limited_per_agent(sidecar: SidecarProcess) -> None:
    agent, other = sidecar.agent("chief-architect"), sidecar.agent()
    with ExitStack() as held:
        for _ in range(64):
            connection = held.enter_context(connect(sidecar))
            connection.sendall(
                f"GET /api/events/wait/never?timeout=60000 HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {agent.token}\r\n\r\n".encode()
            )
        refused = threading.Event()
        for _ in range(200):
            answer = sidecar.request("GET", "/api/events/wait/never?timeout=1", headers=agent.headers)
            if answer.status_code == 429:
                refused.set()
                break
        assert refused.is_set() and answer.json()["code"] == "RATE_002" and "Retry-After" in answer.headers
        assert sidecar.request("GET", "/api/events/wait/never?timeout=1", headers=other.headers).status_code == 200


def refusal(sidecar: SidecarProcess, request: bytes) -> tuple[bytes, str]:
    """The status line and the message of an answer after which the server closes the connection."""
    with connect(sidecar) as connection:
        with suppress(OSError):
            connection.sendall(request)
        head, _, body = answer(connection).partition(b"\r\n\r\n")
    value = json.loads(body)
    assert {"error", "message", "code", "timestamp", "request_id"} <= value.keys()
    assert b"x-request-id" in head
    return head.partition(b"\r\n")[0], value["message"]


def test_a_request_with_many_headers_is_refused_early(sidecar: SidecarProcess) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * (connections.MAX_HEADERS + 1) + b"\r\n"
    status, message = refusal(sidecar, head)
    assert status == b"HTTP/1.1 431 Request Header Fields Too Large" and str(connections.MAX_HEADERS) in message


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: elsewhere\r\n"])
def test_a_request_has_exactly_one_host(sidecar: SidecarProcess, hosts: bytes) -> None:
    status, message = refusal(sidecar, b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n")
    assert status == b"HTTP/1.1 400 Bad Request" and "Host" in message


@pytest.mark.parametrize("part", [b"a:b\r\n" * 10_000, b"1\r\nx\r\n" * 10_000, b"1;" + b"x" * 60_000])
def test_an_invalid_body_also_ends_a_chunked_request(sidecar: SidecarProcess, part: bytes) -> None:
    head = b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = 0
    with connect(sidecar) as connection, suppress(OSError):
        connection.sendall(head + (b"0\r\n" if part.startswith(b"a") else b""))
        while sent < 100 * connections.MAX_HEADER_BYTES:
            connection.sendall(part)
            sent += len(part)
    assert sent < 100 * connections.MAX_HEADER_BYTES, "the connection was closed early"


def test_few_pipelined_requests_wait_on_one_connection(sidecar: SidecarProcess) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(sidecar) as connection:
        connection.sendall(request * 3)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer(connection).count(b"HTTP/1.1 200 OK") == 4
    with connect(sidecar) as connection, suppress(OSError):
        connection.sendall(request * 5000)
        assert answer(connection).count(b"HTTP/1.1 200 OK") <= connections.MAX_PIPELINED + 1
    assert sidecar.request("GET", "/health").status_code == 200


def test_the_oldest_idle_connection_is_closed_and_none_twice() -> None:
    class Transport:
        ended = 0

        def abort(self) -> None:
            self.ended += 1

    class Connection:
        def __init__(self) -> None:
            self.transport = Transport()

    known = connections.Connections(3)
    made = [Connection() for _ in range(6)]
    for each in made:
        # None of them has been notified of its end yet.
        assert known.opened(each)  # type: ignore[arg-type]
    assert [each.transport.ended for each in made] == [1, 1, 1, 0, 0, 0]
