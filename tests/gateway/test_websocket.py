"""Streams over WebSocket: who may open one, how it ends, and what it costs."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.sidecars import serving, small_repository, until
from tests.wire.test_streams import publish
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from cco_sidecar.testing.process import Agent, SidecarProcess

STREAM = "/api/events/stream?since=0"


def opened(sidecar: SidecarProcess, path: str = STREAM, agent: Agent | None = None, **more: Any) -> Any:
    """A context manager with the connection."""
    headers = (agent.headers if agent else {}) | more.pop("headers", {})
    url = sidecar.url.replace("http://", "ws://") + path
    return connect(url, additional_headers=headers, proxy=None, **more)


def refused(sidecar: SidecarProcess, path: str = STREAM, agent: Agent | None = None, **more: Any) -> tuple[int, Any]:
    """The status and the body of a refused opening."""
    with pytest.raises(InvalidStatus) as caught, opened(sidecar, path, agent, **more):
        pass
    answer = caught.value.response
    body = json.loads(answer.body)
    assert answer.headers["x-request-id"] == body["request_id"]
    return answer.status_code, body


def first(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(10))


def ended(socket: ClientConnection) -> tuple[list[Any], int, str]:
    """The messages that are left, and how the server closed the connection."""
    left = []
    try:
        while True:
            left.append(first(socket))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None, closed
        return left, closed.rcvd.code, closed.rcvd.reason


def test_a_browser_offers_its_token_as_a_subprotocol(sidecar: SidecarProcess, agent: Agent) -> None:
    offered = [Subprotocol("cco.v1"), Subprotocol(f"cco.token.{agent.token}")]
    with opened(sidecar, subprotocols=offered) as socket:
        assert socket.subprotocol == "cco.v1", "the token is not sent back"
        assert first(socket)["cursor"]


def test_who_has_no_token_is_refused_as_over_http(sidecar: SidecarProcess, agent: Agent) -> None:
    for offered in (None, [Subprotocol("cco.v1"), Subprotocol("cco.token.nonsense")]):
        status, body = refused(sidecar, subprotocols=offered)
        assert (status, body["code"]) == (401, "AUTH_001")
    # A header is what counts when both are there.
    offered = [Subprotocol("cco.v1"), Subprotocol(f"cco.token.{agent.token}")]
    status, body = refused(sidecar, headers={"Authorization": "Bearer nonsense"}, subprotocols=offered)
    assert status == 401
    plain = sidecar.request("GET", STREAM)
    assert (status, body["error"], body["code"]) == (401, plain.json()["error"], plain.json()["code"])


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/events/stream?since=nonsense", 400, "EVT_002"),
        ("/api/events/stream?sinse=0", 400, "REQ_001"),
        ("/api/events", 400, "REQ_001"),
        ("/api/nothing", 404, "REQ_002"),
        ("/api/agents/spawn", 405, "REQ_003"),
        ("/api/agents/agent-that-is-not/logs", 404, "AGT_004"),
    ],
)
def test_bad_requests_are_refused_as_over_http(sidecar: SidecarProcess, path: str, status: int, code: str) -> None:
    found, body = refused(sidecar, path, sidecar.operator)
    assert (found, body["code"]) == (status, code), body


def test_pages_of_other_sites_are_refused(sidecar: SidecarProcess, agent: Agent) -> None:
    status, body = refused(sidecar, agent=agent, origin="http://evil.example")
    assert (status, body["code"]) == (403, "AUTH_003") and "evil.example" in body["message"]
    with opened(sidecar, agent=agent, origin=sidecar.url) as socket:
        assert first(socket)["cursor"]


def test_allowed_pages_may_connect(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"sidecar": {"cors_origins": ["http://localhost:5173"]}}))
    with serving(tmp_path, small_repository(tmp_path / "root"), config=config) as sidecar:
        with opened(sidecar, agent=sidecar.operator, origin="http://localhost:5173") as socket:
            assert first(socket)["cursor"]
        assert refused(sidecar, agent=sidecar.operator, origin="http://localhost:5174")[0] == 403


def test_a_message_of_the_client_closes_the_stream(sidecar: SidecarProcess, agent: Agent) -> None:
    with opened(sidecar, agent=agent) as socket:
        first(socket)
        socket.send("hello?")
        assert ended(socket)[1:] == (1003, "messages to a stream are not supported")
    with opened(sidecar, agent=agent) as socket:
        first(socket)
        with pytest.raises(ConnectionClosed):
            socket.send("x" * 100_000)
            while True:
                first(socket)


def test_streams_are_counted_and_end_with_their_client(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent(project="websocket-count")
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened(sidecar, agent=agent)) for _ in range(64)]
        for socket in sockets:
            first(socket)
        status, body = refused(sidecar, agent=agent)
        assert (status, body["code"]) == (429, "RATE_002"), body
        sockets[0].socket.close()
        sockets[1].close()

        def room() -> bool:
            try:
                stack.enter_context(opened(sidecar, agent=agent))
            except InvalidStatus:
                return False
            return True

        for _ in range(2):
            until(room, "room for another", 10)
        assert refused(sidecar, agent=agent)[0] == 429


def test_logs_end_normally(sidecar: SidecarProcess) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "command": ["echo", "a line"]}
    spawned = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body).json()
    path = f"/api/agents/{spawned['agent_id']}/logs?follow=true"
    with opened(sidecar, path, sidecar.operator) as socket:
        left, code, _ = ended(socket)
    assert code == 1000 and "a line" in json.dumps(left)


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[SidecarProcess]:
    with serving(tmp_path, small_repository(tmp_path / "root")) as running:
        yield running


def test_a_sidecar_that_stops_sends_the_last_cursor(stopped: SidecarProcess) -> None:
    agent = stopped.operator
    with opened(stopped, agent=agent) as socket:
        first(socket)
        last = publish(stopped, agent, "a")
        assert first(socket)["events"][0]["event_id"] == last
        stopping = threading.Thread(target=stopped.stop)
        stopping.start()
        left, code, _ = ended(socket)
        stopping.join()
    assert code == 1000 and left[-1]["cursor"] >= last


def test_a_token_that_expires_ends_the_stream(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent(ttl_seconds=2)
    with opened(sidecar, agent=agent) as socket:
        first(socket)
        left, code, _ = ended(socket)
    assert (left[-1]["code"], code) == ("AUTH_002", 1008)


def test_a_client_that_reads_nothing_costs_only_itself(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent("chief-architect", project="websocket-slow")
    with opened(sidecar, agent=agent) as slow, opened(sidecar, agent=agent) as quick:
        first(slow)
        first(quick)
        slow.recv_bufsize = 1  # type: ignore[attr-defined]
        text = "x" * 200_000
        published = [publish(sidecar, agent, "a", data={"text": text}) for _ in range(40)]
        began = time.monotonic()
        found: list[str] = []
        while len(found) < 40:
            found += [event["event_id"] for event in first(quick).get("events", [])]
        assert found == published and time.monotonic() - began < 10
        late: list[str] = []
        while len(late) < 40:
            late += [event["event_id"] for event in first(slow).get("events", [])]
        assert late == published


def raw(sidecar: SidecarProcess, *lines: str, agent: Agent | None = None) -> socket.socket:
    """A connection that has sent the opening of a WebSocket with some more header lines."""
    connection = socket.create_connection(("127.0.0.1", sidecar.port), 30)
    head = [
        f"GET {STREAM} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in (agent.headers if agent else {}).items()), *lines, "", "",
    ]  # fmt: skip
    connection.sendall("\r\n".join(head).encode())
    return connection


def everything(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


@pytest.mark.parametrize(
    ("line", "status"),
    [("Content-Length: 5", b"400"), ("Transfer-Encoding: chunked", b"400"), ("X-Big: " + "a" * 9000, b"431")],
)
def test_an_opening_that_cannot_be_is_refused_at_once(sidecar: SidecarProcess, line: str, status: bytes) -> None:
    with raw(sidecar, line) as connection:
        assert everything(connection).startswith(b"HTTP/1.1 " + status)


def test_a_client_that_talks_too_much_is_disconnected(sidecar: SidecarProcess, agent: Agent) -> None:
    pings = b"\x89\xfd0000" + b"0" * 125
    for said in (pings * 100, b"\x01\x800000", b"\x00\x800000" * 2000):
        with raw(sidecar, agent=agent) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 101")
            with contextlib.suppress(OSError):
                connection.sendall(said)
            # Shorter than the pause between two messages of an idle stream.
            connection.settimeout(14)
            everything(connection)


def test_refusals_and_clients_that_leave_leave_no_complaints(stopped: SidecarProcess) -> None:
    for _ in range(3):
        refused(stopped)
        with opened(stopped, agent=stopped.operator) as socket_:
            first(socket_)
            socket_.send("x")
            socket_.socket.close()
    log = (stopped.storage / "logs" / "orchestration.log").read_text()
    assert "ERROR" not in log.upper().replace('"ERROR_', ""), log
