"""One HTTP/2 stream that carries one gRPC call: messages in, messages out, both within their windows."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from typing import Any

import grpc.aio

from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request
from cco_sidecar.rpc.http2 import frames, headers
from cco_sidecar.rpc.http2.frames import ErrorCode
from cco_sidecar.rpc.http2.headers import RequestHead
from cco_sidecar.rpc.http2.link import Link

_PREFIX_BYTES = 5
# Received octets of a stream are acknowledged in portions of at least this size.
_CREDIT = 16 * 1024
_ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# :status 200 (an entry of HPACK's static table), then literals.
_HEADERS = b"\x88" + headers.encode(
    [("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,deflate,gzip")]
)


class Stream:
    """``head``: the request's headers. ``over``: nothing more can be sent. ``abandoned``: the client or a fault ended
    it."""

    __slots__ = (
        "_buffer",
        "_encoding",
        "_max_receive",
        "_reading",
        "_started",
        "_unacknowledged",
        "_writing",
        "abandoned",
        "connection",
        "head",
        "number",
        "over",
        "remote_closed",
        "task",
        "window",
    )

    def __init__(self, connection: Link, number: int, head: RequestHead, max_receive: int) -> None:
        self.connection = connection
        self.number = number
        self.head = head
        self.window = connection.initial_window
        self.remote_closed = False
        self.over = False
        self.abandoned = False
        self.task: asyncio.Task[None] | None = None
        self._max_receive = max_receive
        self._encoding = head.fields.get("grpc-encoding", "identity")
        self._buffer = bytearray()
        self._unacknowledged = 0
        self._started = False
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None

    # -- receiving -----------------------------------------------------------------------------------------

    def received(self, payload: bytes, octets: int, *, ended: bool) -> None:
        """Takes the payload of a DATA frame; ``octets`` counts against the windows. Raises ConnectionFault."""
        self._unacknowledged += octets
        if self._unacknowledged > frames.DEFAULT_WINDOW:
            raise frames.ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window allows")
        self._buffer += payload
        self.remote_closed |= ended
        if self._reading is not None:
            _resolve(self._reading)

    def end_of_requests(self) -> None:
        self.remote_closed = True
        if self._reading is not None:
            _resolve(self._reading)

    async def read(self) -> Any:
        """Returns the next message, or grpc.aio.EOF. Raises SidecarError for one that is too large or damaged."""
        while True:
            message = self.read_nowait()
            if message is not None:
                return message
            if self.remote_closed:
                if self._buffer:
                    raise invalid_request("the request ended within a message")
                return grpc.aio.EOF
            self._acknowledge()
            self._reading = self.connection.loop.create_future()
            try:
                await self._reading
            finally:
                self._reading = None

    def read_nowait(self) -> bytes | None:
        """Returns the next message if it has arrived. Raises SidecarError as ``read``."""
        buffer = self._buffer
        if len(buffer) < _PREFIX_BYTES:
            return None
        size = int.from_bytes(buffer[1:_PREFIX_BYTES], "big")
        if size > self._max_receive:
            raise _too_large(size, self._max_receive)
        end = _PREFIX_BYTES + size
        if len(buffer) < end:
            return None
        compressed, message = buffer[0], bytes(buffer[_PREFIX_BYTES:end])
        del buffer[:end]
        self._acknowledge()
        return self._decompressed(message) if compressed else message

    def _acknowledge(self) -> None:
        """Lets the client send as much as was taken, once that is worth a frame."""
        taken = self._unacknowledged
        if taken >= _CREDIT and not self.remote_closed and not self.over:
            self._unacknowledged = 0
            self.connection.send(frames.window_update(self.number, taken))
            self.connection.acknowledge(taken)

    def _decompressed(self, message: bytes) -> bytes:
        bits = _ENCODINGS.get(self._encoding)
        if bits is None:
            raise invalid_request(f"grpc-encoding '{self._encoding[:40]}' is not supported; use gzip or identity")
        inflater = zlib.decompressobj(bits)
        try:
            out = inflater.decompress(message, self._max_receive + 1)
        except zlib.error:
            raise invalid_request(f"the message is not {self._encoding} data, as its header says") from None
        if len(out) > self._max_receive:
            raise _too_large(len(out), self._max_receive)
        if not inflater.eof or inflater.unused_data:
            raise invalid_request(f"the message is not one whole {self._encoding} stream")
        return out

    # -- sending -------------------------------------------------------------------------------------------

    def send_headers(self, metadata: Iterable[tuple[str, str | bytes]] = ()) -> None:
        """Sends the response's headers, unless they were sent."""
        if not self._started and not self.over:
            self._started = True
            block = _HEADERS + headers.encode(metadata)
            self.connection.send(frames.frame(frames.HEADERS, frames.END_HEADERS, self.number, block))

    async def write(self, message: bytes) -> None:
        """Sends a message, and returns once the windows and the socket took it."""
        if not self._write_nowait(message):
            self.send_headers()
            await self._send_in_parts(message)

    def push(self, response: Encoded) -> bool:
        """Sends a response if nothing holds it up; otherwise returns False. Its bytes are shared by all streams."""
        if response.framed is None:
            response.framed = framed(response.SerializeToString())
        return self._write_framed(response.framed)

    def _write_nowait(self, message: bytes, trailers: bytes = b"") -> bool:
        # A message that needs several frames is not copied.
        fits = len(message) + _PREFIX_BYTES <= self.connection.max_frame
        return fits and self._write_framed(framed(message), trailers)

    def _write_framed(self, data: bytes, trailers: bytes = b"") -> bool:
        """Sends a message that is framed, unless that would have to wait: then returns False."""
        connection = self.connection
        size = len(data)
        if size > self.window or size > connection.window or size > connection.max_frame or connection.paused:
            return self.over
        if self.over:
            return True
        self.window -= size
        connection.window -= size
        head = frames.HEAD.pack(size >> 8, size & 0xFF, frames.DATA, 0, self.number)
        if self._started:
            connection.send(head + data + trailers)
        else:
            self._started = True
            opening = frames.frame(frames.HEADERS, frames.END_HEADERS, self.number, _HEADERS)
            connection.send(opening + head + data + trailers)
        return True

    async def _send_in_parts(self, message: bytes) -> None:
        connection, view = self.connection, memoryview(message)
        prefix = _prefix(message)
        while (view or prefix) and not self.over:
            size = min(len(prefix) + len(view), self.window, connection.window, connection.max_frame)
            if size < 1 or connection.paused:
                await self._until_writable()
                continue
            self.window -= size
            connection.window -= size
            first = prefix[:size]
            part = size - len(first)
            connection.send_parts((frames.head(frames.DATA, 0, self.number, size) + first, view[:part]))
            view, prefix = view[part:], prefix[size:]

    async def _until_writable(self) -> None:
        self._writing = self.connection.loop.create_future()
        try:
            await self._writing
        finally:
            self._writing = None

    def writable(self) -> None:
        """Called when a window has grown or the socket takes data again."""
        if self._writing is not None:
            _resolve(self._writing)

    async def finish(self, trailing: headers.Metadata, message: bytes | None = None) -> None:
        """Sends the last message, if any, and the trailers. The stream is over afterwards."""
        trailers = headers.encode(trailing)
        if message is not None:
            if self._write_nowait(message, self._trailers(trailers)):
                self.over = True
                return
            await self.write(message)
        if self.over:
            return
        # Without a message the trailers are the response's only headers.
        block = trailers if self._started else _HEADERS + trailers
        self.connection.send(self._trailers(block))
        self.over = True

    def _trailers(self, block: bytes) -> bytes:
        """Ends the response; a client that still sends is told to stop (RFC 9113, section 8.1)."""
        last = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, self.number, block)
        return last if self.remote_closed else last + frames.reset(self.number, ErrorCode.NO_ERROR)

    def refuse(self, status: int) -> None:
        """Answers with an HTTP status and no body."""
        self._started = True
        self.connection.send(self._trailers(headers.encode([(":status", str(status))])))
        self.over = True

    def release(self) -> None:
        """Gives back what was received and not read, once the call is over."""
        self.connection.acknowledge(self._unacknowledged)
        self._unacknowledged = 0
        self._buffer.clear()


def framed(message: bytes) -> bytes:
    """Prefixes a message with its length (gRPC over HTTP/2, "Length-Prefixed-Message")."""
    return _prefix(message) + message


def _prefix(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big")


def _too_large(size: int, most: int) -> SidecarError:
    return SidecarError(Kind.PAYLOAD_TOO_LARGE, "REQ_004", f"the message has {size} bytes; the maximum is {most}")


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
