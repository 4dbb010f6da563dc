"""A receiver of webhooks: an HTTP server whose answers a test chooses."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

# Lets a sidecar post to receivers of this machine.
LOCAL = {"CCO_SIDECAR_WEBHOOK_HOSTS": "localhost"}


class Request(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """``answer`` returns status and headers for each request; by default everything is accepted."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], tuple[int, Mapping[str, str]]] = lambda request: (204, {})
        # Requests that are being answered now, and the most there were.
        self.open, self.most = 0, 0
        self.lock = threading.Lock()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def types(self) -> list[str]:
        return [request.json["event_type"] for request in self.requests]


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with receiver.lock:
                receiver.open += 1
                receiver.most = max(receiver.most, receiver.open)
            body = self.rfile.read(int(self.headers["content-length"]))
            request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.requests.append(request)
            status, headers = receiver.answer(request)
            with receiver.lock:
                receiver.open -= 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
