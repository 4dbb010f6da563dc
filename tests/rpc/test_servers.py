"""What real clients see of our gRPC server, and that grpcio's server does the same."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.support.grpc_servers import MB, channel, serving

from cco_sidecar.rpc.grpcio_core import GrpcioCore
from cco_sidecar.rpc.http2.server import Http2Core


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
