"""Too much of everything that it may send."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from attempts.api import Said, address, call
from attempts.core import _CALL_SECONDS, ISSUE, TOKEN, TYPE, Refused, attempt, described


def healthy(what: str) -> str:
    """The input may be accepted as long as everybody else is still served."""
    began = time.monotonic()
    try:
        said = call("GET", "/health", token=None, timeout=10)
    except OSError as problem:
        return f"{what}; then nobody is served: {described(problem)}"
    took = time.monotonic() - began
    if said.status != 200 or took > 2.0:
        return f"{what}; then /health took {took:.1f} s: {said.status}"
    raise Refused(f"{what}; others are served")


def flooded(what: str, calls: Sequence[Callable[[], Said]]) -> str:
    try:
        answers = [act() for act in calls]
    except TimeoutError:
        return f"{what}: no answer in {_CALL_SECONDS:g} s"
    bad = [said for said in answers if said.code == "INT_001" or said.status >= 500]
    if bad:
        return f"{what}: {bad[0].status} {bad[0].text[:200]}"
    return healthy(f"{what}: {', '.join(sorted({f'{said.status} {said.code}'.strip() for said in answers}))}")


def event_with(data: bytes) -> Callable[[], Said]:
    body = b'{"topic": "testing", "data": {"x": ' + data + b"}}"
    return lambda: call("POST", "/api/events/hostile", body, patient=False)


def result_with(extra: bytes) -> Callable[[], Said]:
    head = json.dumps({"agent_type": TYPE, "issue_id": ISSUE}).encode()[:-1]
    body = head + b', "result": {"status": "success", "x": ' + extra + b"}}"
    return lambda: call("POST", "/api/results", body, patient=False)


def listing() -> Said:
    """Whatever was stored can be listed again."""
    return call("GET", "/api/events", patient=False)


def lists(megabytes: float) -> bytes:
    return b"[" + b",".join([b"[]"] * int(megabytes * 2**20 / 3)) + b"]"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


for _name, _send in {"event": event_with, "result": result_with}.items():
    attempt("load", f"send 9.9 MB of empty lists as {_name}")(
        lambda send=_send: flooded("sent", [send(lists(9.4)), send(lists(9.4))])  # type: ignore[misc]
    )
    for _depth in (90, 200, 900, 100_000):
        attempt("load", f"send lists {_depth} deep as {_name}")(
            lambda send=_send, depth=_depth: flooded("sent", [send(nested(depth)), listing])  # type: ignore[misc]
        )


@attempt("load", "store a flood of results of 3 MB")
def result_flood() -> str:
    text = json.dumps("x" * 3 * 2**20).encode()
    return flooded("sent", [result_with(text)] * 8)


@attempt("load", "have a costly pattern matched")
def costly_filter() -> str:
    """A star, and as many question marks as the filter length allows."""
    asked = quote("x:*" + "?" * 2000 + "b")
    value = json.dumps("a" * 250_000).encode()
    return flooded("asked", [*[event_with(value)] * 8, lambda: call("GET", f"/api/events?filter={asked}", timeout=50)])


def wire(number: int, data: bytes) -> bytes:
    """A length-delimited field (protobuf wire type 2)."""
    size, rest = b"", len(data)
    while rest > 127:
        size += bytes((rest & 127 | 128,))
        rest >>= 7
    return bytes((number << 3 | 2,)) + size + bytes((rest,)) + data


def large_result(megabytes: int) -> bytes:
    """A CreateResultRequest in which every four bytes are a list within a list."""
    lists_in_list = wire(6, b"\x0a\x02\x32\x00" * (megabytes * 2**20 // 4))
    extra = wire(1, wire(1, b"x") + wire(2, lists_in_list))
    return wire(2, TYPE.encode()) + wire(3, ISSUE.encode()) + wire(5, b"\x08\x01" + wire(15, extra))


def large_event(megabytes: int) -> bytes:
    """A PublishEventRequest with one long text."""
    data = wire(1, wire(1, b"x") + wire(2, wire(3, b"x" * (megabytes * 2**20))))
    return wire(1, b"hostile") + wire(3, b"testing") + wire(4, data)


@attempt("load", "send gRPC messages of 15 MB")
def large_messages() -> str:
    import grpc

    answers = []
    with grpc.insecure_channel(os.environ["SIDECAR_GRPC"]) as channel:
        for path, message in (
            ("/orchestra.v1.EventService/PublishEvent", large_event(15)),
            ("/orchestra.v1.ResultService/CreateResult", large_result(15)),
        ):
            send: Any = channel.unary_unary(path)
            try:
                send(message, metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=_CALL_SECONDS)
                answers.append("OK")
            except grpc.RpcError as problem:
                answers.append(problem.code().name)
    said = f"sent: {', '.join(answers)}"
    if set(answers) & {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"}:
        return said
    return healthy(said)


def connected() -> socket.socket:
    return socket.create_connection(address(), timeout=5)


def sent_request(method: str, path: str, headers: Mapping[str, str]) -> socket.socket:
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "localhost", **headers}.items())
    opened = connected()
    opened.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
    return opened


_BEARER = {"Authorization": f"Bearer {TOKEN}"}


def answered(opened: socket.socket, seconds: float) -> str:
    """The first line of an answer, or that the connection was closed; empty while neither has happened."""
    ready, _, _ = select.select([opened], [], [], seconds)
    if not ready:
        return ""
    try:
        line = opened.recv(4096).split(b"\r\n")[0].decode(errors="replace")
    except OSError as problem:
        return described(problem)
    return line or "closed"


def trickled(size: int, headers: Mapping[str, str], seconds: float = 4.0) -> str:
    """Announces a body and sends it a few bytes at a time."""
    opened = sent_request(
        "POST", "/api/events/hostile", {"Content-Type": "application/json", "Content-Length": str(size), **headers}
    )
    with opened:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if said := answered(opened, 0.05):
                raise Refused(said)
            opened.sendall(b" " * 1024)
    return f"still listened to after {seconds:g} s"


@attempt("load", "announce a body of 50 MB and send it slowly")
def slow_body() -> str:
    return trickled(50 * 2**20, _BEARER)


@attempt("load", "announce a body of 9 MB without a token and send it slowly")
def slow_body_of_nobody() -> str:
    return trickled(9 * 2**20, {})


@attempt("load", "send a body in chunks without end")
def endless_chunks() -> str:
    opened = sent_request(
        "POST", "/api/events/hostile", {"Content-Type": "application/json", "Transfer-Encoding": "chunked", **_BEARER}
    )
    with opened:
        return taken_in(opened, b"10000\r\n" + b" " * 65536 + b"\r\n", 24)


def taken_in(opened: socket.socket, piece: bytes, megabytes: int, most: float = 12.0) -> str:
    """Sends ``piece`` over and over. The server should not take in more than ``most`` megabytes."""
    sent = 0
    while sent < megabytes * 2**20:
        if said := answered(opened, 0):
            raise Refused(f"after {sent / 2**20:.1f} MB: {said}")
        try:
            opened.sendall(piece)
        except OSError as problem:
            raise Refused(f"after {sent / 2**20:.1f} MB: {described(problem)}") from problem
        sent += len(piece)
    if said := answered(opened, 2.0):
        raise Refused(f"after {sent / 2**20:.1f} MB: {said}")
    return f"{sent / 2**20:.0f} MB were taken" if sent > most * 2**20 else healthy(f"{sent / 2**20:.0f} MB were taken")


@attempt("load", "send a header line without end, with no token")
def endless_header() -> str:
    with connected() as opened:
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Hostile: ")
        return taken_in(opened, b"a" * 65536, 16, most=1.0)


@attempt("load", "send header lines without end, with no token")
def endless_headers() -> str:
    with connected() as opened:
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        return taken_in(opened, b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(64)), 16, most=1.0)


@attempt("load", "send a request line without end, with no token")
def endless_line() -> str:
    with connected() as opened:
        opened.sendall(b"GET /health?")
        return taken_in(opened, b"a" * 65536, 16, most=1.0)


@attempt("load", "hold 1,200 idle connections")
def idle_connections() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    opened: list[socket.socket] = []
    problem = ""
    try:
        for _ in range(1200):
            try:
                opened.append(connected())
            except OSError as trouble:
                problem = described(trouble)
                break
        return healthy(f"{len(opened)} are open{'; ' if problem else ''}{problem}")
    finally:
        for each in opened:
            each.close()


@attempt("load", "park 200 polls with costly patterns, and publish what they match")
def parked() -> str:
    opened = []
    try:
        for number in range(200):
            asked = quote(f"x:*{'?' * (1500 + number)}b")
            path = f"/api/events/wait/hostile?timeout=20000&since=$&filter={asked}"
            opened.append(sent_request("GET", path, _BEARER))
        published = event_with(json.dumps("a" * 100_000).encode())()
        return healthy(f"parked; publishing: {published.status}")
    finally:
        for each in opened:
            each.close()


def memory() -> float:
    return float(call("GET", "/health", token=None).json["checks"]["memory_usage_mb"])


_MAX_GROWTH_MB = 256.0


@attempt("results", "have 60 large results listed, and read none of the lists")
def unread_lists() -> str:
    """Eight clients that do not read, so the lists stay in the server's memory."""
    text = json.dumps("x" * 2**20).encode()
    store = result_with(text)
    answers = sorted({f"{said.status} {said.code}".strip() for said in (store() for _ in range(60))})
    before = memory()
    opened = []
    try:
        for _ in range(8):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(5)
            reader.connect(address())
            head = f"GET /api/results?limit=1000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            reader.sendall(head.encode())
            opened.append(reader)
        most = before
        deadline = time.monotonic() + 6.0
        while time.monotonic() < deadline and most - before < _MAX_GROWTH_MB:
            most = max(most, memory())
            select.select([], [], [], 0.1)
    finally:
        for each in opened:
            each.close()
    if most - before >= _MAX_GROWTH_MB:
        return f"the sidecar's memory grew by {most - before:.0f} MB and more"
    return healthy(f"stored: {', '.join(answers)}; memory grew by {most - before:.0f} MB")


@attempt("results", "be served afterwards")
def served_afterwards() -> str:
    return healthy("asked")
