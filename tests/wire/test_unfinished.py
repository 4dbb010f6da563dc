"""Requests that are begun and never finished cost little, and affect only their sender."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.http2 import Unfinished
from tests.support.sidecars import serving, small_repository

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.rpc.receiving import Admission, Receiving
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import result_service_pb2

MB = 2**20
CREATE_RESULT = "/orchestra.v1.ResultService/CreateResult"
PUBLISH_EVENTS = "/orchestra.v1.EventService/PublishEvents"
HEALTH = "/orchestra.v1.SystemService/GetHealth"
CHECK = "/grpc.health.v1.Health/Check"
UNAUTHENTICATED, RESOURCE_EXHAUSTED = "16", "8"


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    base = tmp_path_factory.mktemp("unfinished")
    with serving(base, small_repository(base / "root")) as running:
        yield running


def healthy(sidecar: SidecarProcess) -> bool:
    with grpc.insecure_channel(sidecar.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return bool(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1)


def memory(sidecar: SidecarProcess) -> int:
    return int(psutil.Process(sidecar.process.pid).memory_info().rss)


@pytest.mark.parametrize("method", [CREATE_RESULT, PUBLISH_EVENTS])
@pytest.mark.parametrize("token", ["", "no.token.atall"])
def test_a_caller_without_a_token_is_refused_before_the_request_is_read(
    sidecar: SidecarProcess, method: str, token: str
) -> None:
    before = memory(sidecar)
    with Unfinished(sidecar) as connection:
        streams = [connection.begin(method, 4 * MB, token) for _ in range(200)]
        connection.send_on(0.3)
        assert [connection.statuses.get(stream) for stream in streams] == [UNAUTHENTICATED] * len(streams)
    assert memory(sidecar) - before < 64 * MB


@pytest.mark.parametrize("method", [HEALTH, CHECK])
def test_a_stranger_uses_little_memory_where_no_token_is_needed(sidecar: SidecarProcess, method: str) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(Unfinished(sidecar)) for _ in range(4)]
        for connection in connections:
            for _ in range(50):
                connection.begin(method, 4 * MB)
            # Four requests, and what flow control accepts unread of the others; out of 200 MB.
            assert connection.send_on(0.3) < 60 * MB
        assert healthy(sidecar)
        assert sidecar.request("GET", "/health").status_code == 200


def test_an_agent_holds_a_bounded_number_of_requests(sidecar: SidecarProcess) -> None:
    agent, other = sidecar.agent("python-specialist"), sidecar.agent("python-specialist")
    before = memory(sidecar)
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(Unfinished(sidecar))
            for _ in range(15):
                connection.begin(CREATE_RESULT, 4 * MB, agent.token)
            connection.send_on(0.3)
        assert memory(sidecar) - before < (32 * 4 + 64) * MB
        assert healthy(sidecar)
        assert sidecar.request("GET", "/api/results", other).status_code == 200
    # All of them ended with their connections.
    assert sidecar.request("GET", "/api/results", agent).status_code == 200


def test_an_agent_has_few_open_request_streams(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent("python-specialist")
    with Unfinished(sidecar) as connection:
        for _ in range(20):
            connection.begin(PUBLISH_EVENTS, MB, agent.token)
        # An excess stream waits for a slot for up to a second and a half.
        connection.send_on(2)
        assert list(connection.statuses.values()) == [RESOURCE_EXHAUSTED] * 4


def test_a_refused_request_is_not_kept(sidecar: SidecarProcess, stubs: Any) -> None:
    """gRPC keeps the exception that aborted a call, which kept the call's frames alive until garbage collection."""
    agent = sidecar.agent("chief-architect")
    request = result_service_pb2.CreateResultRequest(agent_type=agent.type, issue_id=agent.issue)
    request.result.status = result_service_pb2.RESULT_STATUS_SUCCESS
    request.result.artifacts["text"] = "x" * 3_500_000
    before = 0
    for number in range(60):
        with pytest.raises(grpc.RpcError, match="the maximum is 2097152"):
            stubs.results.CreateResult(request, metadata=agent.metadata)
        if number == 10:
            before = memory(sidecar)
    assert memory(sidecar) - before < 50 * MB


async def just_before(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    """Acts in the loop iteration in which a later timer fires, before its waiters run."""
    loop = asyncio.get_running_loop()
    due = loop.create_future()
    loop.call_later(seconds, due.set_result, None)
    await due
    await act()


class TestReceiving:
    async def test_a_caller_with_many_requests_waits_for_its_own(self) -> None:
        receiving, order = Receiving(256, 32), list[str]()
        holding, done = asyncio.Event(), asyncio.Event()

        async def hold(name: str) -> None:
            async with receiving.one("agent"):
                order.append(name)
                holding.set()
                await done.wait()

        tasks = [asyncio.create_task(hold(str(number))) for number in range(40)]
        await asyncio.sleep(0)
        async with receiving.one("other"):
            order.append("other")
        assert order == [*map(str, range(32)), "other"]
        done.set()
        await asyncio.gather(*tasks)
        assert len(order) == 41

    async def test_when_all_slots_are_taken_the_oldest_request_is_evicted(self) -> None:
        receiving = Receiving(2, 32, contended_seconds=0.01)

        async def hold(name: str) -> None:
            async with receiving.one(name):
                await asyncio.Event().wait()

        oldest, younger = (asyncio.create_task(hold(name)) for name in ("a", "b"))
        await asyncio.sleep(0)
        async with receiving.one("c"):
            assert oldest.done() and not younger.done()
        with pytest.raises(SidecarError, match="was not received") as refusal:
            await oldest
        assert refusal.value.code == "REQ_007"
        younger.cancel()

    async def test_a_request_that_has_just_timed_out_is_not_evicted(self) -> None:
        """Its timer has fired, but its task has not run yet."""
        receiving = Receiving(1, 32, seconds=0.01)

        async def hold() -> None:
            async with receiving.one("a"):
                await asyncio.Event().wait()

        first = asyncio.create_task(hold())
        second = asyncio.create_task(just_before(0.005, receiving.one("b").__aenter__))
        await asyncio.sleep(0)
        # Both timers have expired when the loop checks; the second task runs first.
        time.sleep(0.05)  # noqa: ASYNC251
        with pytest.raises(SidecarError, match="was not received"):
            await first
        async with asyncio.timeout(5):
            await second

    async def test_strangers_take_no_slots_of_authenticated_callers(self) -> None:
        admission = Admission()

        async def hold(number: int) -> None:
            async with admission.one("", f"ipv4:127.0.0.1:{number // 2}"):
                await asyncio.Event().wait()

        strangers = [asyncio.create_task(hold(number)) for number in range(200)]
        await asyncio.sleep(0)
        async with asyncio.timeout(0.5), admission.one("agent", "ipv4:127.0.0.1:1"):
            pass
        for each in strangers:
            each.cancel()

    async def test_a_request_that_never_arrives_is_refused_in_time(self) -> None:
        began = time.monotonic()
        with pytest.raises(SidecarError, match="was not received"):
            async with Receiving(1, 1, seconds=0.01).one("x"):
                await asyncio.Event().wait()
        assert time.monotonic() - began < 5
