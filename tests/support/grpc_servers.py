"""A gRPC server with a few handlers, and clients for it: real ones, and one that writes any bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from hpack import Encoder

from cco_sidecar.rpc.http2 import frames
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
