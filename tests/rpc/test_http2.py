"""Our gRPC server on asyncio: what real clients see, what a hostile peer can do, and that grpcio's server does the same."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from hpack import Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cco_sidecar.rpc.grpcio_core import GrpcioCore
from cco_sidecar.rpc.http2 import connection as connections
from cco_sidecar.rpc.http2 import frames
from cco_sidecar.rpc.http2 import server as servers
from cco_sidecar.rpc.http2.frames import ErrorCode, frame
from cco_sidecar.rpc.http2.server import Http2Core

MB = 2**20
REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/t.T/Echo"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
OPENING = frames.PREFACE + frames.settings({})


class Calls:
    """The handlers, and what happened to them."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    async def echo(self, _: Any, context: Any) -> bytes:
        message = await context.read()
        metadata = dict(context.invocation_metadata())
        context.set_trailing_metadata(tuple((k, v) for k, v in metadata.items() if k.startswith("x-")))
        return bytes(message)

    async def wait(self, _: Any, context: Any) -> bytes:
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b"done"

    async def count(self, _: Any, context: Any) -> None:
        """Sends as many messages as the request says, of as many bytes as it says."""
        number, size = map(int, (await context.read()).split())
        for each in range(number):
            await context.write(b"%08d" % each + bytes(size - 8))

    async def sums(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        total = 0
        async for request in requests:
            total += int(request)
            yield str(total).encode()

    async def refuse(self, _: Any, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "ä % b", (("x-why-bin", b"\0\1"), ("x-why", "text")))
        return b""

    async def fail(self, _: Any, context: Any) -> bytes:
        raise RuntimeError("the password is 'secret'")

    @property
    def handlers(self) -> list[grpc.GenericRpcHandler]:
        unary = {"Echo": self.echo, "Wait": self.wait, "Refuse": self.refuse, "Fail": self.fail}
        methods = {name: grpc.stream_unary_rpc_method_handler(act) for name, act in unary.items()}
        methods |= {
            name: grpc.stream_stream_rpc_method_handler(act)
            for name, act in {"Count": self.count, "Sums": self.sums}.items()
        }
        return [grpc.method_handlers_generic_handler("t.T", methods)]


@asynccontextmanager
async def serving(kind: Any = Http2Core, max_connections: int = 64) -> AsyncIterator[tuple[Any, Calls]]:
    core, calls = kind("127.0.0.1", 0, None, max_connections), Calls()
    core.add_generic_rpc_handlers(calls.handlers)
    await core.start()
    try:
        yield core, calls
    finally:
        await core.stop(0)
        core.close()


@asynccontextmanager
async def channel(core: Any) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 * MB)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{core.port}", options=options) as opened:
        yield opened


class Raw:
    """A connection on which a test writes any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def next_frame(self) -> tuple[int, int, int, bytes]:
        """Returns type, flags, stream and payload."""
        head = await self._reader.readexactly(frames.HEAD_BYTES)
        high, low, kind, flags, number = frames.HEAD.unpack(head)
        return kind, flags, number, await self._reader.readexactly(high << 8 | low)

    async def until(self, kind: int, stream: int | None = None) -> bytes:
        """Returns the payload of the next frame of a type."""
        async with asyncio.timeout(10):
            while True:
                found, _, number, payload = await self.next_frame()
                if found == kind and stream in (None, number):
                    return payload

    async def fault(self) -> ErrorCode:
        """Returns the error of the GOAWAY that ends the connection."""
        payload = await self.until(frames.GOAWAY)
        async with asyncio.timeout(10):
            await self._reader.read()
        return ErrorCode(int.from_bytes(payload[4:8], "big"))


@asynccontextmanager
async def raw(core: Any, opening: bytes = OPENING) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
    writer.write(opening)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


def request(stream: int, *, path: str = "/t.T/Echo", flags: int = 0, **fields: str) -> bytes:
    """A HEADERS frame of a request; ``fields`` replace or add headers, with dashes for underscores."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    headers = [(name, named.pop(name.strip(":"), value)) for name, value in REQUEST]
    headers = [(name, path if name == ":path" else value) for name, value in headers] + list(named.items())
    return frame(frames.HEADERS, frames.END_HEADERS | flags, stream, Encoder().encode(headers))


def message(data: bytes, compressed: int = 0) -> bytes:
    return bytes((compressed,)) + len(data).to_bytes(4, "big") + data


def data(stream: int, payload: bytes, flags: int = frames.END_STREAM) -> bytes:
    return frame(frames.DATA, flags, stream, payload)


# -- what clients see ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Http2Core, GrpcioCore])
class TestBothServers:
    async def test_a_unary_call_with_metadata(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            call = to.unary_unary("/t.T/Echo")(b"hello", metadata=(("x-text", "a, b"), ("x-data-bin", b"\0\xff,")))
            assert await call == b"hello"
            assert dict(await call.trailing_metadata()) == {"x-text": "a, b", "x-data-bin": b"\0\xff,"}

    @pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 65_536, 4 * MB])
    async def test_messages_of_any_size(self, kind: Any, size: int) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            assert await to.unary_unary("/t.T/Echo")(bytes(size)) == bytes(size)

    async def test_a_long_stream_is_complete_and_in_order(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            numbers = [int(part[:8]) async for part in to.unary_stream("/t.T/Count")(b"2000 1000")]
            assert numbers == list(range(2000))

    async def test_messages_both_ways(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            call = to.stream_stream("/t.T/Sums")()
            for number, total in ((1, b"1"), (2, b"3"), (30, b"33")):
                await call.write(str(number).encode())
                assert await call.read() == total
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF and await call.code() is grpc.StatusCode.OK

    async def test_an_error_has_its_status_text_and_metadata(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await to.unary_unary("/t.T/Refuse")(b"")
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert refused.value.details() == "ä % b"
            assert dict(refused.value.trailing_metadata()) == {"x-why-bin": b"\0\1", "x-why": "text"}

    async def test_a_method_that_does_not_exist(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await to.unary_unary("/t.T/Nothing")(b"")
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_a_deadline_cancels_the_handler(self, kind: Any) -> None:
        async with serving(kind) as (core, calls), channel(core) as to:
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await to.unary_unary("/t.T/Wait")(b"", timeout=0.2)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(calls.cancelled.wait(), 5)

    async def test_a_client_that_cancels_ends_the_handler(self, kind: Any) -> None:
        async with serving(kind) as (core, calls), channel(core) as to:
            call = to.unary_unary("/t.T/Wait")(b"")
            await asyncio.wait_for(calls.started.wait(), 5)
            call.cancel()
            await asyncio.wait_for(calls.cancelled.wait(), 5)

    async def test_compressed_requests_are_read(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
                assert await to.unary_unary("/t.T/Echo")(bytes(100_000), compression=compression) == bytes(100_000)

    async def test_a_message_over_the_limit_is_refused(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await to.unary_unary("/t.T/Echo")(bytes(6 * MB))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    async def test_what_fails_inside_is_not_told(self, kind: Any) -> None:
        async with serving(kind) as (core, _), channel(core) as to:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await to.unary_unary("/t.T/Fail")(b"")
            assert failed.value.code() is grpc.StatusCode.UNKNOWN
            if kind is Http2Core:
                assert "secret" not in (failed.value.details() or "")

    async def test_a_stop_lets_open_calls_end(self, kind: Any) -> None:
        async with serving(kind) as (core, calls), channel(core) as to:
            call = to.unary_unary("/t.T/Wait")(b"")
            await asyncio.wait_for(calls.started.wait(), 5)
            stopping = asyncio.create_task(core.stop(10))
            await asyncio.sleep(0)
            calls.go_on.set()
            assert await call == b"done"
            await stopping


async def test_a_stop_ends_calls_that_take_longer_than_its_grace() -> None:
    async with serving() as (core, calls), channel(core) as to:
        call = to.unary_unary("/t.T/Wait")(b"")
        await asyncio.wait_for(calls.started.wait(), 5)
        await core.stop(0.05)
        assert calls.cancelled.is_set() and await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_reader_that_stops_holds_up_no_other_stream_of_its_connection() -> None:
    async with serving() as (core, _), raw(core) as client:
        # Without window updates this stream stalls after 64 kB; the connection has more.
        client.send(frames.window_update(0, 10 * MB))
        client.send(request(1, path="/t.T/Count"), data(1, message(b"1000 1000")))
        client.send(request(3), data(3, message(b"still served")))
        assert await client.until(frames.DATA, 3) == message(b"still served")
        client.send(frames.window_update(1, 10 * MB))
        await client.until(frames.DATA, 1)
        assert (await client.until(frames.HEADERS, 1))[-1:] == b"0", "the trailers come after all of the data"


# -- what is not gRPC --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status"), [({"method": "GET"}, "405"), ({"content_type": "application/json"}, "415")]
)
async def test_requests_that_are_not_grpc_get_an_http_status(fields: dict[str, str], status: str) -> None:
    async with serving() as (core, _), raw(core) as client:
        client.send(request(1, flags=frames.END_STREAM, **fields))
        assert status.encode() in await client.until(frames.HEADERS, 1)


async def test_http_1_is_told_where_it_is() -> None:
    async with serving() as (core, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b"HTTP/1.1 400 Bad Request" in answer and b"This port speaks gRPC" in answer


@pytest.mark.parametrize(
    ("fields", "payload", "status"),
    [
        ({"grpc_encoding": "gzip"}, message(gzip.compress(bytes(50 * MB)), 1), "8"),
        ({"grpc_encoding": "gzip"}, message(b"not gzip", 1), "3"),
        ({"grpc_encoding": "zstd"}, message(b"x", 1), "3"),
        ({}, message(b"cut short")[:-1], "3"),
    ],
    ids=["bomb", "not gzip", "unknown encoding", "incomplete"],
)
async def test_damaged_messages_are_refused(fields: dict[str, str], payload: bytes, status: str) -> None:
    async with serving() as (core, _), raw(core) as client:
        parts = [payload[at : at + 16_000] for at in range(0, len(payload), 16_000)]
        body = [data(1, part, 0) for part in parts[:-1]] + [data(1, parts[-1])]
        client.send(request(1, **fields), *body)
        assert b"grpc-status" + bytes((len(status),)) + status.encode() in await client.until(frames.HEADERS, 1)


# -- what breaks the protocol ------------------------------------------------------------------------------

HALF_HEADERS = frame(frames.HEADERS, 0, 1, Encoder().encode(REQUEST))
FAULTS: dict[str, tuple[bytes, ErrorCode]] = {
    "data before headers": (data(1, b""), ErrorCode.PROTOCOL_ERROR),
    "an even stream": (request(2), ErrorCode.PROTOCOL_ERROR),
    "a frame that is too large": (frames.head(frames.DATA, 0, 1, 16_385) + bytes(100), ErrorCode.FRAME_SIZE_ERROR),
    "a header block with data inside": (HALF_HEADERS + data(1, b""), ErrorCode.PROTOCOL_ERROR),
    "a continuation of nothing": (frame(frames.CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR),
    "headers without end": (
        HALF_HEADERS + frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 5,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "headers that are not HPACK": (frame(frames.HEADERS, 4, 1, b"\xff" * 20), ErrorCode.COMPRESSION_ERROR),
    "headers that unpack to too much": (
        frame(frames.HEADERS, 4, 1, b"\x40\x01a\x7f\xe1\x1e" + b"b" * 4000 + b"\xbe" * 100),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "a window of 0 more": (frames.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
    "a window over 2^31": (frames.window_update(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    "more data than the stream's window": (
        request(1, path="/t.T/Wait") + data(1, bytes(16_000), 0) * 5,
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "settings of an odd size": (frame(frames.SETTINGS, 0, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "an initial window over 2^31": (frames.settings({4: 2**31}), ErrorCode.FLOW_CONTROL_ERROR),
    "a frame size of 1": (frames.settings({5: 1}), ErrorCode.PROTOCOL_ERROR),
    "a push": (frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "a short ping": (frame(frames.PING, 0, 0, b"x"), ErrorCode.FRAME_SIZE_ERROR),
    "padding longer than its frame": (
        request(1) + frame(frames.DATA, frames.PADDED, 1, b"\x09abc"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a stream that depends on itself": (frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\0"), ErrorCode.PROTOCOL_ERROR),
    "a flood of resets": (
        b"".join(request(n, path="/t.T/Wait") + frames.reset(n, ErrorCode.CANCEL) for n in range(1, 2401, 2)),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "a flood of empty frames": (request(1, path="/t.T/Wait") + data(1, b"", 0) * 1200, ErrorCode.ENHANCE_YOUR_CALM),
    "a flood of settings": (frames.settings({}) * 1200, ErrorCode.ENHANCE_YOUR_CALM),
    "a flood of priorities": (frame(frames.PRIORITY, 0, 3, b"\0\0\0\1\0") * 1200, ErrorCode.ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_ends_its_connection_and_no_other(name: str) -> None:
    sent, code = FAULTS[name]
    async with serving() as (core, _), raw(core) as bystander, raw(core) as client:
        client.send(sent)
        assert await client.fault() is code
        bystander.send(request(1), data(1, message(b"fine")))
        assert await bystander.until(frames.DATA, 1) == message(b"fine")


@pytest.mark.parametrize("opening", [b"nonsense" * 4, frames.PREFACE + frame(frames.PING, 0, 0, bytes(8))])
async def test_what_does_not_begin_as_http_2_is_closed(opening: bytes) -> None:
    async with serving() as (core, _), raw(core, opening) as client:
        assert await client.fault() is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("header", [("X-Upper", "1"), ("connection", "close"), ("te", "gzip"), ("x", "a\nb")])
async def test_malformed_headers_end_only_their_stream(header: tuple[str, str]) -> None:
    async with serving() as (core, _), raw(core) as client:
        headers = [each for each in REQUEST if each[0] != header[0]] + [header]
        client.send(frame(frames.HEADERS, frames.END_HEADERS, 1, Encoder().encode(headers)))
        assert await client.until(frames.RST_STREAM, 1) == ErrorCode.PROTOCOL_ERROR.to_bytes(4, "big")
        client.send(request(3), data(3, message(b"fine")))
        assert await client.until(frames.DATA, 3) == message(b"fine")


async def test_padding_and_priorities_are_accepted() -> None:
    async with serving() as (core, _), raw(core) as client:
        block = Encoder().encode(REQUEST)
        flags = frames.END_HEADERS | frames.PADDED | frames.HAS_PRIORITY
        client.send(frame(frames.HEADERS, flags, 1, b"\x03" + b"\0\0\0\0\x10" + block + bytes(3)))
        body = message(b"padded")
        client.send(frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\x04" + body + bytes(4)))
        assert await client.until(frames.DATA, 1) == body


async def test_header_blocks_in_parts_and_frames_byte_by_byte() -> None:
    async with serving() as (core, _), raw(core) as client:
        block = Encoder().encode(REQUEST)
        sent = frame(frames.HEADERS, 0, 1, block[:10]) + frame(frames.CONTINUATION, 0, 1, block[10:20])
        sent += frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[20:]) + data(1, message(b"slow"))
        for at in range(len(sent)):
            client.send(sent[at : at + 1])
            await client.writer.drain()
        assert await client.until(frames.DATA, 1) == message(b"slow")


async def test_a_client_with_a_smaller_table_and_repeated_headers() -> None:
    """The same block of bytes means something else after the table has changed."""
    async with serving() as (core, _), raw(core) as client:
        encoder = Encoder()
        texts = ["first", "second", "third", "second", "first"]
        for number, text in enumerate(texts):
            if number == 3:
                encoder.header_table_size = 200
            stream = 2 * number + 1
            for each in range(3):
                block = encoder.encode([*REQUEST, ("x-text", text), ("x-each", str(each % 2))])
                client.send(frame(frames.HEADERS, frames.END_HEADERS, stream * 100 + 2 * each + 1, block))
                client.send(data(stream * 100 + 2 * each + 1, message(b"")))
                trailers = await client.until(frames.DATA, stream * 100 + 2 * each + 1)
                trailers = await client.until(frames.HEADERS, stream * 100 + 2 * each + 1)
                assert text.encode() in trailers and b"x-each\x01" + str(each % 2).encode() in trailers


async def test_more_streams_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_STREAMS", 3)
    async with serving() as (core, calls), raw(core) as client:
        client.send(*(request(number, path="/t.T/Wait") for number in (1, 3, 5, 7)))
        assert await client.until(frames.RST_STREAM, 7) == ErrorCode.REFUSED_STREAM.to_bytes(4, "big")
        calls.go_on.set()
        assert await client.until(frames.DATA, 1) == message(b"done")


async def test_more_connections_than_allowed_are_closed() -> None:
    async with serving(max_connections=2) as (core, _), raw(core) as one, raw(core) as two:
        for client in (one, two):
            client.send(request(1), data(1, message(b"x")))
            await client.until(frames.DATA, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
        writer.write(OPENING)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(9)
        writer.close()


@pytest.mark.parametrize("opening", [b"", OPENING], ids=["never begins", "vanishes"])
async def test_connections_without_a_sign_of_life_are_closed(monkeypatch: pytest.MonkeyPatch, opening: bytes) -> None:
    for name in ("_LOOK_SECONDS", "_ANSWER_SECONDS", "HANDSHAKE_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(servers, name, 0.05)
    async with serving() as (core, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", core.port)
        writer.write(opening)
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                await reader.read()
        writer.close()


async def test_a_client_that_answers_pings_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LOOK_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(servers, name, 0.05)
    monkeypatch.setattr(servers, "_ANSWER_SECONDS", 5.0)
    async with serving() as (core, _), raw(core) as client:
        for _ in range(3):
            sent = await client.until(frames.PING)
            client.send(frame(frames.PING, frames.ACK, 0, sent))
        client.send(request(1), data(1, message(b"alive")))
        assert await client.until(frames.DATA, 1) == message(b"alive")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            frame,
            st.integers(0, 11),
            st.integers(0, 255),
            st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
            st.binary(max_size=40) | st.just(Encoder().encode(REQUEST)),
        )
        | st.binary(max_size=30),
        max_size=12,
    )
)
def test_no_bytes_disturb_other_connections(parts: list[bytes]) -> None:
    async def attempt() -> None:
        loop = asyncio.get_running_loop()
        problems: list[Any] = []
        loop.set_exception_handler(lambda _, context: problems.append(context))
        async with serving() as (core, _), raw(core) as client:
            client.send(*parts)
            client.writer.write_eof()
            async with raw(core) as bystander:
                bystander.send(request(1), data(1, message(b"fine")))
                assert await bystander.until(frames.DATA, 1) == message(b"fine")
        assert problems == []

    asyncio.run(attempt())


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        Http2Core("127.0.0.1", taken.getsockname()[1], None, 1)


async def test_a_connection_that_is_closed_but_not_read_goes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_LOOK_SECONDS", 0.05)
    async with serving() as (core, _), raw(core) as client:
        client.writer.transport.pause_reading()
        client.send(frames.settings({4: 2**31 - 1}) + frames.window_update(0, 2**31 - 70_000))
        client.send(request(1, path="/t.T/Count"), data(1, message(b"1000 100000")))
        await client.writer.drain()
        async with asyncio.timeout(10):
            while not any(connection.paused for connection in core._connections):
                await asyncio.sleep(0)
        client.send(frame(frames.PUSH_PROMISE, 4, 1, bytes(4)))
        async with asyncio.timeout(10):
            while core._connections:
                await asyncio.sleep(0.01)
