"""What the gRPC port makes of HTTP/2 that no gRPC client would send: mistakes, floods, and peers that vanish."""

from __future__ import annotations

import asyncio
import gzip
import socket
from contextlib import suppress
from typing import Any

import pytest
from hpack import Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.grpc_servers import MB, OPENING, REQUEST, data, message, raw, request, serving

from cco_sidecar.rpc.http2 import connection as connections
from cco_sidecar.rpc.http2 import frames
from cco_sidecar.rpc.http2 import server as servers
from cco_sidecar.rpc.http2.frames import ErrorCode, frame
from cco_sidecar.rpc.http2.headers import HeaderDecoder
from cco_sidecar.rpc.http2.server import Http2Core


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
    ("fields", "status"),
    [
        ({"method": "GET"}, "405"),
        ({"content_type": "application/json"}, "415"),
        ({"content_type": "application/grpc-web+proto"}, "415"),
    ],
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
        ({"grpc_encoding": "gzip"}, message(gzip.compress(b"cut short")[:-8], 1), "3"),
        ({"grpc_encoding": "gzip"}, message(b"", 1), "3"),
        ({"grpc_encoding": "gzip"}, message(gzip.compress(b"one") + gzip.compress(b"two"), 1), "3"),
        ({"grpc_encoding": "zstd"}, message(b"x", 1), "3"),
        ({}, message(b"cut short")[:-1], "3"),
    ],
    ids=["bomb", "not gzip", "gzip cut short", "no gzip", "two of gzip", "unknown encoding", "incomplete"],
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
    "more data than the connection's window": (
        # 4 MB and a little: of much more the rest would stay unread, and a reset overtake the GOAWAY.
        b"".join(request(n, path="/t.T/Wait") + data(n, bytes(16_000), 0) * 4 for n in range(1, 131, 2))
        + request(131, path="/t.T/Wait")
        + data(131, bytes(16_000), 0) * 3,
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


@pytest.mark.parametrize("window", [1, 2, 4, 5, 6])
async def test_a_window_smaller_than_a_prefix_is_used(window: int) -> None:
    async with serving() as (core, _), raw(core) as client:
        client.send(frames.settings({4: window}), request(1), data(1, message(b"hello")))
        received = b""
        while len(received) < len(message(b"hello")):
            part = await client.until(frames.DATA, 1)
            assert 0 < len(part) <= window
            received += part
            client.send(frames.window_update(1, len(part)))
        assert received == message(b"hello")


async def test_a_slow_reader_of_a_large_message_may_ping() -> None:
    """gRPC's clients take frames of megabytes, and measure the connection with pings."""
    async with serving() as (core, _), raw(core) as client:
        client.send(frames.settings({4: 2**31 - 1, 5: 2**24 - 1}) + frames.window_update(0, 2**31 - 70_000))
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.writer.transport.pause_reading()
        client.send(request(1, path="/t.T/Count"), data(1, message(b"1 16000000")))
        (connection,) = core._connections
        async with asyncio.timeout(10):
            while not connection.paused:
                await asyncio.sleep(0)
            before = connection.heard
            client.send(frame(frames.PING, 0, 0, bytes(8)))
            while connection.heard == before:
                await asyncio.sleep(0)
        client.writer.transport.resume_reading()
        received = 0
        while received < 16_000_000:
            received += len(await client.until(frames.DATA, 1))
        client.send(request(3), data(3, message(b"still open")))
        assert await client.until(frames.DATA, 3) == message(b"still open")


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


async def test_a_request_on_its_way_to_a_server_that_stops_may_be_repeated() -> None:
    async with serving() as (core, _), raw(core) as client:
        client.send(request(1), data(1, message(b"before")))
        await client.until(frames.HEADERS, 1)
        stopping = asyncio.create_task(core.stop(10))
        assert (await client.until(frames.GOAWAY))[:4] == bytes([0x7F, 0xFF, 0xFF, 0xFF]), (
            "any request may be on its way"
        )
        ping = await client.until(frames.PING)
        # Sent before the client has read the above.
        client.send(request(3, flags=frames.END_STREAM))
        assert await client.until(frames.RST_STREAM, 3) == ErrorCode.REFUSED_STREAM.to_bytes(4, "big")
        client.send(frame(frames.PING, frames.ACK, 0, ping))
        assert (await client.until(frames.GOAWAY))[:8] == bytes([0, 0, 0, 3, 0, 0, 0, 0])
        await asyncio.wait_for(stopping, 5)
        assert not core._connections


async def test_a_client_that_ignores_a_stop_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_FAREWELL_SECONDS", 0.05)
    async with serving() as (core, _), raw(core) as client:
        client.send(request(1), data(1, message(b"before")))
        await client.until(frames.HEADERS, 1)
        await asyncio.wait_for(core.stop(60), 5)
        assert await client.fault() is ErrorCode.NO_ERROR


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


def test_the_same_bytes_mean_something_else_once_the_table_has_changed() -> None:
    encoder, decoder = Encoder(), HeaderDecoder()
    fixed = [(":method", "POST"), (":scheme", "http"), (":path", "/")]
    blocks = []
    for text in ("one", "one", "one", "two", "two", "two", "one"):
        block = encoder.encode([*fixed, ("x-text", text)])
        blocks.append(block)
        assert decoder.decode(block).metadata == (("x-text", text),)
    assert blocks[2] == blocks[5], "indexed, and so the same"
