"""One request on an HTTP connection. Beside ASGI's messages, it takes and answers a request in one step each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cco_sidecar.gateway.corked import Corked

# Of a response that is written at once: what a client that does not read may keep in memory.
MAX_AT_ONCE = 64 * 1024
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
# The key in the scope of a request.
KEY = "cco.cycle"


class Cycle(RequestResponseCycle):
    """``on_response`` is called when the response is complete."""

    transport: Corked  # type: ignore[assignment]

    def __init__(self, connection: HttpToolsProtocol, keep_alive: bool, on_response: Callable[..., None]) -> None:
        super().__init__(
            scope=connection.scope,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=connection.expect_100_continue,
            keep_alive=keep_alive,
            on_response=on_response,
        )

    def whole_body(self, most: int) -> bytes | None:
        """Takes the body, if all of it has arrived and it has at most ``most`` bytes."""
        if self.more_body or self.disconnected or len(self.body) > most:
            return None
        body, self.body = bytes(self.body), bytearray()
        return body

    def respond(self, status: int, head: bytes, body: bytes) -> bool:
        """Sends a response at once. ``head`` holds its headers, each with its line end. Returns False, and sends
        nothing, if the client must be waited for."""
        if self.response_started or self.flow.write_paused or len(body) > MAX_AT_ONCE:
            return False
        if self.disconnected:
            raise ConnectionResetError("the client disconnected")
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self.transport.write_now(b"".join((_STATUS_LINES[status], head, close, b"\r\n", body)))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


def of(scope: Any) -> Cycle | None:
    """Returns the cycle of a request; None if another server received it."""
    found: Cycle | None = scope.get(KEY)
    return found
