"""Connections of the REST port: uvicorn's, with limits."""

from __future__ import annotations

import asyncio
from asyncio.transports import BaseTransport
from collections import OrderedDict
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from cco_sidecar.core import ids
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request
from cco_sidecar.gateway import cycle, replies
from cco_sidecar.gateway.corked import Corked
from cco_sidecar.gateway.cycle import Cycle

# RFC 9110 leaves these limits to the server. Common proxies have smaller ones.
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 128
HEADER_SECONDS = 10.0
# The most requests a client may send before the first is answered.
MAX_PIPELINED = 16
# A WebSocket's client has next to nothing to say: pongs, pings and the end.
MAX_SAID_BYTES = 4096
_SAID_BYTES_PER_SECOND = 1024
# The websockets library reads lines of up to 8,192 bytes, and waits for ever after a longer one.
_MAX_LINE = 8000
_OF_UPGRADE = frozenset({b"connection", b"upgrade", b"http2-settings"})


class Connections:
    """The open connections. When there are too many, the one that has been idle longest is closed.

    Connections that are serving a request are never closed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._idle: OrderedDict[Connection, None] = OrderedDict()

    def opened(self, connection: Connection) -> bool:
        """Registers a connection. Returns False if it was closed because all others are busy."""
        self._open += 1
        self._idle[connection] = None
        if self._open > self._most:
            # `closed` is called later; remove it now, so that it is not chosen twice.
            oldest, _ = self._idle.popitem(last=False)
            oldest.transport.abort()
            return oldest is not connection
        return True

    def closed(self) -> None:
        """Called for each that was opened, once it is not idle."""
        self._open -= 1

    def busy(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        self._idle[connection] = None


class _Refused(Exception):
    """Stops the parser of a connection. The response is set beforehand."""


class Connection(HttpToolsProtocol):
    """A connection with limits on data that the application never sees or has not asked for.

    The *overhead* of a request is everything but its body: request line, headers, trailers and chunk framing.
    """

    connections_of_server: Connections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._received = self._of_body = 0
        self._header_bytes = self._header_count = 0
        self._in_headers = True
        self._messages = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._refusal: SidecarError | None = None
        # The request line of a request that offers another protocol.
        self._offering = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = Corked(transport, self.loop)  # type: ignore[assignment]
        if self.connections_of_server.opened(self):
            self._expect(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self.connections_of_server.busy(self)
        self.connections_of_server.closed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_headers and self._deadline is None:
            self._expect(HEADER_SECONDS)
        before = self._messages
        self._unset_keepalive_if_required()
        self._feed(data)
        # If a request ended in this data, the start of the next one is not counted. It is at most one read.
        self._received = self._received + len(data) if self._messages == before else 0
        # Chunked bodies have framing. No honest client sends more framing than body.
        if self._received - self._of_body > MAX_HEADER_BYTES + self._of_body and not self.transport.is_closing():
            self._refuse(_too_large(f"the headers exceed {MAX_HEADER_BYTES} bytes, or the chunks are too small"))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                # The parser stops after the headers of any upgrade. Those to other protocols are ignored (RFC 9110,
                # section 7.8): Java's client offers HTTP/2 with each request, and wants this one to be answered.
                rest = data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self._feed(self._head_without_upgrade() + rest)
        except httptools.HttpParserError:
            self.send_400_response("")

    def _head_without_upgrade(self) -> bytes:
        kept = [b"%b: %b" % header for header in self.headers if header[0] not in _OF_UPGRADE]
        return b"\r\n".join((self._offering, *kept, b"", b""))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._received = self._of_body = 0
        self._header_bytes = self._header_count = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called for each header, and for each trailer."""
        self._header_count += 1
        self._header_bytes += len(name) + len(value) + 4
        if self._header_count > MAX_HEADERS or self._header_bytes > MAX_HEADER_BYTES:
            self._refusal = _too_large(
                f"too many headers: the maximum is {MAX_HEADERS}, of {MAX_HEADER_BYTES} bytes in total"
            )
            raise _Refused
        # The parser leaves blanks at the end, which are no part of the value (RFC 9110, section 5.5).
        super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            # For its parser, what follows is no HTTP any more.
            self._refusal = invalid_request("this is no proxy: CONNECT is not served")
            raise _Refused
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            # RFC 9112, section 3.2.
            self._refusal = invalid_request("a request must have exactly one Host header")
            raise _Refused
        if len(self.pipeline) >= MAX_PIPELINED:
            waiting = f"more than {MAX_PIPELINED} unanswered requests on this connection"
            self._refusal = invalid_request(waiting)
            raise _Refused
        if self.parser.should_upgrade():
            version = self.parser.get_http_version().encode()
            self._offering = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)
            if self._should_upgrade():
                self._check_upgrade()
                super().on_headers_complete()
            return
        self._in_headers = False
        self._cancel_deadline()
        self.connections_of_server.busy(self)
        self._begin()

    def _begin(self) -> None:
        """Starts the request, or queues it behind those before it."""
        version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        before = self.cycle
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        self.cycle = current = Cycle(self, keep_alive, self.on_response_complete)
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["raw_path"] = url.path
        self.scope["query_string"] = url.query or b""
        self.scope[cycle.KEY] = current  # type: ignore[literal-required]
        if before is None or before.response_complete:
            self._start_asgi_task(current, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((current, self.app))

    def _check_upgrade(self) -> None:
        """A WebSocket's handshake has no body, and shorter lines than other requests."""
        names = {name for name, _ in self.headers}
        if b"content-length" in names or b"transfer-encoding" in names:
            self._refusal = invalid_request("the opening of a WebSocket has no body")
            raise _Refused
        longest = max(len(name) + len(value) for name, value in self.headers)
        if max(longest, len(self.url)) > _MAX_LINE:
            self._refusal = _too_large(f"the opening of a WebSocket has lines of at most {_MAX_LINE} bytes")
            raise _Refused

    def handle_websocket_upgrade(self) -> None:
        self._cancel_deadline()
        self.connections_of_server.busy(self)
        super().handle_websocket_upgrade()

    def on_body(self, body: bytes) -> None:
        self._of_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and not self._should_upgrade():
            # Only of the headers; see `_feed`.
            return
        super().on_message_complete()
        self._in_headers = True
        self._messages += 1
        self._cancel_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.connections_of_server.idle(self)
            if not self._in_headers and self._deadline is None:
                # It was answered before it was complete; do not wait for the rest for long.
                self._expect(HEADER_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Called when the parser or one of the callbacks above rejects a request."""
        self._refuse(self._refusal or invalid_request("invalid HTTP request"))

    def _expect(self, seconds: float) -> None:
        """Sets the deadline for the headers, or for the end of a request."""
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._in_headers and self._received:
            late = f"the headers were not received within {HEADER_SECONDS:g} s"
            self._refuse(SidecarError(Kind.REQUEST_TIMEOUT, "REQ_007", late))
        else:
            self.transport.abort()

    def _refuse(self, error: SidecarError) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # Another response is in progress.
            self.transport.abort()
            return
        request_id = ids.request_id()
        body = replies.error_body(error, request_id)
        status = HTTPStatus(error.kind.http_status)
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class Socket(WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket, whose client has next to nothing to say. It counts as before."""

    connections_of_server: Connections

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._may_say = float(MAX_SAID_BYTES)
        self._said_at = self.loop.time()
        self._in_handshake = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections_of_server.closed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_handshake:
            # What the HTTP server has read; its limits applied.
            self._in_handshake = False
        else:
            now = self.loop.time()
            self._may_say = min(MAX_SAID_BYTES, self._may_say + (now - self._said_at) * _SAID_BYTES_PER_SECOND)
            self._said_at = now
            self._may_say -= len(data)
            if self._may_say < 0:
                self.transport.abort()
                return
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.abort()

    def handle_text(self, event: Frame) -> None:
        self._say()

    def handle_bytes(self, event: Frame) -> None:
        self._say()

    def handle_cont(self, event: Frame) -> None:
        self._say()

    def _say(self) -> None:
        """Tells the application that the client said something; what does not matter."""
        if not self.close_sent and self.queue.empty():
            self.queue.put_nowait({"type": "websocket.receive", "bytes": b""})

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            # Otherwise uvicorn complains that the connection was never answered.
            self.handshake_complete = True


def _too_large(text: str) -> SidecarError:
    return SidecarError(Kind.HEADERS_TOO_LARGE, "REQ_008", text)
