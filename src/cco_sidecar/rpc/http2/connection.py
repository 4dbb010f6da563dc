"""One HTTP/2 connection: parses frames, keeps the windows, opens streams, and limits whatever can be sent in masses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import cast

from cco_sidecar.rpc.http2 import frames
from cco_sidecar.rpc.http2.frames import ConnectionFault, ErrorCode
from cco_sidecar.rpc.http2.headers import HeaderDecoder, Malformed, RequestHead
from cco_sidecar.rpc.http2.owner import Owner
from cco_sidecar.rpc.http2.stream import Stream
from cco_sidecar.rpc.http2.strikes import Strikes
from cco_sidecar.rpc.http2.window import RECEIVE_WINDOW, ReceiveWindow
from cco_sidecar.rpc.limits import MAX_HEADER_BYTES, MAX_STREAMS

# Requests that are started before other connections get a turn.
_REQUESTS_AT_ONCE = 32
# Above this, writers wait until the socket took what is there.
_UNSENT_BYTES = 256 * 1024
_MAX_UNSENT_BYTES = 4 * 2**20
# However large the frames that a client takes: what is not sent yet stays well below the limit above.
_MAX_FRAME_BYTES = 256 * 1024
_LEAVING, _LAST_PING = "shutting down", b"shutdown"


class Connection(asyncio.Protocol):
    """``window`` is what the client still takes on all streams; ``heard`` is when it last sent anything, in loop time.
    ``ready``: the client's settings have arrived. ``_told``: it knows that this connection takes no more requests."""

    def __init__(self, owner: Owner, peer: Callable[[asyncio.Transport], str]) -> None:
        self._owner = owner
        self._peer = peer
        self.loop = asyncio.get_running_loop()
        self.peer = ""
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.DEFAULT_FRAME_BYTES
        self.paused = False
        self.ready = False
        self.heard = self.opened_at = self.loop.time()
        self.pinged = False
        self.streams: dict[int, Stream] = {}
        self._transport: asyncio.Transport
        self.send: Callable[[bytes], None]
        self._begun = False
        self._draining = False
        self._told = False
        self._buffer = b""
        self._last = 0
        self._receiving = ReceiveWindow()
        self._headers = HeaderDecoder()
        # A header block that is not complete: its stream, flags and parts.
        self._block: tuple[int, int, bytearray] | None = None
        self._strikes = Strikes(self.heard)
        self._requests = 0
        # The latest streams that we ended while the client was still sending.
        self._cut_short: deque[int] = deque(maxlen=256)
        # By type of frame.
        self._handlers = (
            *(self._on_data, self._on_headers, self._on_priority, self._on_reset, self._on_settings),
            *(self._on_push_promise, self._on_ping, self._on_goaway, self._on_window_update, self._on_continuation),
        )

    # -- the transport -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.send = self._transport.write
        self._transport.set_write_buffer_limits(high=_UNSENT_BYTES)
        self.peer = self._peer(self._transport)
        if not self._owner.opened(self):
            self._transport.abort()
            return
        ours = {frames.MAX_CONCURRENT_STREAMS: MAX_STREAMS, frames.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES}
        self.send(frames.settings(ours) + frames.window_update(0, RECEIVE_WINDOW - frames.DEFAULT_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:
        self._draining = True
        for stream in list(self.streams.values()):
            self._abandon(stream)
        self._owner.closed(self)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._wake_writers()

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self._transport.writelines(parts)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self.heard, self.pinged = self.loop.time(), False
        if self._buffer:
            data = self._buffer + data
        self._requests = 0
        try:
            at = 0 if self._begun else self._preface(data)
            self._buffer = data[self._frames(data, at) :] if self._begun else data
        except ConnectionFault as fault:
            self.close(fault.code, str(fault))

    def _go_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self.data_received(b"")

    def _preface(self, data: bytes) -> int:
        if not frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
            if data.startswith(frames.HTTP_1_METHODS):
                self.send(frames.HTTP_1_ANSWER)
                self._transport.close()
                self._begun = True
                return len(data)
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        self._begun = len(data) >= len(frames.PREFACE)
        return len(frames.PREFACE)

    def _frames(self, data: bytes, at: int) -> int:
        """Handles the complete frames from ``at`` on, and returns where the rest begins."""
        end = len(data)
        while end - at >= frames.HEAD_BYTES:
            high, low, kind, flags, number = frames.HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > frames.DEFAULT_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            begin = at + frames.HEAD_BYTES
            if end - begin < size:
                break
            at = begin + size
            number &= frames.MAX_WINDOW
            if self._block is not None and (kind != frames.CONTINUATION or number != self._block[0]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block must not be interrupted")
            if not self.ready and kind != frames.SETTINGS:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings come first")
            if kind < len(self._handlers):
                self._handlers[kind](flags, number, data[begin:at])
            if self._transport.is_closing():
                return end
            if self._requests >= _REQUESTS_AT_ONCE and at < end:
                self._transport.pause_reading()
                self.loop.call_soon(self._go_on)
                break
        return at

    # -- frames --------------------------------------------------------------------------------------------

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        octets = len(payload)
        stream = self._known(number)
        self._receiving.take(octets)
        data = frames.unpadded(flags & frames.PADDED, payload) if flags & frames.PADDED else payload
        ended = bool(flags & frames.END_STREAM)
        if not octets and not ended:
            self._strikes.add("empty frames", self.heard)
        if stream is None or stream.over:
            self.acknowledge(octets)
            self._on_closed(number)
            return
        if stream.remote_closed:
            self._reset(stream, ErrorCode.STREAM_CLOSED)
            self.acknowledge(octets)
            return
        stream.received(data, octets, ended=ended)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number % 2:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients open streams with odd numbers")
        part = frames.unpadded(flags, payload)
        if flags & frames.HAS_PRIORITY:
            begin = 1 if flags & frames.PADDED else 0
            frames.check_priority(number, payload[begin : begin + 5])
        if flags & frames.END_HEADERS:
            self._on_block(number, flags, part)
        else:
            self._block = (number, flags, bytearray(part))

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a continuation of no headers")
        _, first_flags, parts = self._block
        parts += payload
        if len(parts) > 2 * MAX_HEADER_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "headers without end")
        if not payload:
            self._strikes.add("empty frames", self.heard)
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(number, first_flags, bytes(parts))

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        """Handles a complete header block: a request, or the trailers of one."""
        head: RequestHead | None = None
        # Decoded in any case, because blocks build on each other.
        with suppress(Malformed):
            head = self._headers.decode(block)
        ended = bool(flags & frames.END_STREAM)
        if number <= self._last:
            self._on_trailers(number, ended=ended)
            return
        self._last = number
        self._requests += 1
        if head is None:
            self.send(frames.reset(number, ErrorCode.PROTOCOL_ERROR))
            self._strikes.add("malformed requests", self.heard)
            return
        if len(self.streams) >= MAX_STREAMS or self._draining:
            self.send(frames.reset(number, ErrorCode.REFUSED_STREAM))
            self._strikes.add("more streams than allowed", self.heard)
            return
        stream = self.streams[number] = Stream(self, number, head, self._owner.max_receive)
        stream.remote_closed = ended
        stream.task = self._owner.serve(stream, partial(self._ended, stream))

    def _on_trailers(self, number: int, *, ended: bool) -> None:
        stream = self.streams.get(number)
        if stream is None or stream.over:
            self._on_closed(number)
            return
        if stream.remote_closed:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "headers on a closed stream")
        if not ended:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "trailers end a stream")
        stream.end_of_requests()

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:
        frames.check_priority(number, payload)
        self._strikes.add("priorities", self.heard)

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a reset has 4 bytes")
        stream = self._known(number)
        if stream is not None and not stream.over:
            # A request that is reset at once costs its sender nothing (CVE-2023-44487).
            self._strikes.add("resets", self.heard)
            self._abandon(stream)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings of a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement is empty")
            return
        for key, value in frames.settings_in(payload):
            if key == frames.INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            elif key == frames.MAX_FRAME_SIZE:
                self.max_frame = min(value, _MAX_FRAME_BYTES)
        if self.ready:
            self._strikes.add("settings", self.heard)
        self.ready = True
        self._answer(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _resize_windows(self, size: int) -> None:
        change, self.initial_window = size - self.initial_window, size
        for stream in self.streams.values():
            stream.window += change
            if stream.window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        if change > 0:
            self._wake_writers()

    def _on_push_promise(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients push nothing")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a ping has 8 bytes")
        if not flags & frames.ACK:
            self._answer(frames.ping(payload, frames.ACK))
        elif payload == _LAST_PING:
            self._told = self._draining
            self._leave()

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a goaway of a stream")

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a window update has 4 bytes")
        octets = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if not number:
            self.window += octets
            if not octets:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window update of 0")
            if self.window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
            self._wake_writers()
            return
        stream = self._known(number)
        if stream is None:
            return
        stream.window += octets
        if not octets or stream.window > frames.MAX_WINDOW:
            self._reset(stream, ErrorCode.FLOW_CONTROL_ERROR if octets else ErrorCode.PROTOCOL_ERROR)
        else:
            stream.writable()

    # -- streams -------------------------------------------------------------------------------------------

    def _known(self, number: int) -> Stream | None:
        """Returns an open stream, None for a closed one. Raises ConnectionFault for one that was never opened."""
        if not number or number > self._last:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {number} is not open")
        return self.streams.get(number)

    def _on_closed(self, number: int) -> None:
        """A frame arrived for a stream that is closed. If we closed it, the client may not know yet."""
        if number not in self._cut_short:
            self._strikes.add("frames on closed streams", self.heard)
            self.send(frames.reset(number, ErrorCode.STREAM_CLOSED))

    def _reset(self, stream: Stream, code: ErrorCode) -> None:
        if not stream.over:
            self.send(frames.reset(stream.number, code))
        self._abandon(stream)

    def _abandon(self, stream: Stream) -> None:
        """Ends the call of a stream that the client no longer wants."""
        if stream.over:
            return
        stream.over = stream.abandoned = True
        if stream.task is not None:
            stream.task.cancel()

    def _ended(self, stream: Stream) -> None:
        """Called when the call of a stream is over. Until then it counts against the limit."""
        self.streams.pop(stream.number, None)
        if not stream.remote_closed and not stream.abandoned:
            self._cut_short.append(stream.number)
        if not self._transport.is_closing():
            stream.release()
            self._leave()

    def acknowledge(self, octets: int) -> None:
        """Lets the client send ``octets`` more on this connection, once that is worth a frame."""
        if more := self._receiving.acknowledge(octets):
            self.send(frames.window_update(0, more))

    def _wake_writers(self) -> None:
        for stream in self.streams.values():
            stream.writable()

    # -- limits --------------------------------------------------------------------------------------------

    def _answer(self, data: bytes) -> None:
        """Answers a control frame. A client that does not read its answers is disconnected."""
        if self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "answers are not read")
        self.send(data)

    # -- the end -------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Asks for a sign of life; anything that arrives resets ``pinged``."""
        self.pinged = True
        self.send(frames.ping(b"liveness"))

    def drain(self) -> None:
        """Takes no more requests, and closes once the open ones have ended and none is on its way (RFC 9113, 6.8)."""
        if self._draining:
            return
        self._draining = self.pinged = True
        # What the client sent before it read this is refused as not processed. Its answer to the ping comes later.
        self.send(frames.goaway(frames.MAX_WINDOW, ErrorCode.NO_ERROR, _LEAVING) + frames.ping(_LAST_PING))
        # Nothing is on its way from a client that has not said anything.
        self._told = not self.ready
        self._leave()

    def _leave(self) -> None:
        if self._told and not self.streams:
            self.close(why=_LEAVING)

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    def abort(self) -> None:
        """Closes without a word."""
        self._transport.abort()

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR, why: str = "") -> None:
        """Closes at once; open calls are cancelled."""
        if not self._transport.is_closing():
            self.send(frames.goaway(self._last, code, why))
            self._transport.close()
