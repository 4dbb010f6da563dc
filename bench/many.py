"""What many readers cost. ``python -m bench.many``.

*Filters*: one publisher sends events that ten subscriptions match, first beside no other subscription and then beside
990 whose filters do not match: the server's CPU time per event, and the ratio. *Polls*: 1,000 long polls of as many
agents wait for one event: how long after its publication each is answered, and what memory each takes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
import uvloop
from bench.run import percentile

from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import event_service_pb2 as pb
from orchestra.v1.event_service_pb2_grpc import EventServiceStub

MATCHING = 10
OTHERS = 990
POLLS = 1000
_AGENTS = 32
_ROUNDS = 5
_SECONDS = 4.0
_RATE = 100


class Stage:
    """A sidecar, and enough agents of one project for its limit of open readers per agent."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.process = psutil.Process(sidecar.process.pid)
        self.agents = [sidecar.agent("chief-architect", project="many") for _ in range(_AGENTS)]

    def agent(self, number: int) -> Agent:
        return self.agents[number % _AGENTS]

    def readers(self) -> int:
        answer = self.sidecar.request("GET", "/status", self.sidecar.operator).json()
        return int(answer["events"]["active_subscriptions"])

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @asynccontextmanager
    async def channels(self) -> AsyncIterator[list[Any]]:
        """A stub for each agent, on a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(self.sidecar.target, options=options) for _ in self.agents]
        yield [EventServiceStub(channel) for channel in channels]
        for channel in channels:
            await channel.close()


async def cost(stage: Stage, others: int) -> float:
    """Server CPU microseconds per event that ten subscriptions get, beside so many that do not match."""
    async with stage.channels() as stubs:

        async def read(number: int, expression: str) -> None:
            request = pb.SubscribeRequest(filter=expression)
            stub, metadata = stubs[number % _AGENTS], stage.agent(number).metadata
            async for _ in stub.Subscribe(request, metadata=metadata):
                ready[number].set()

        wanted = [f"issue_id:issue-1,part:<{100 + n}" for n in range(MATCHING)]
        filters = wanted + [f"issue_id:issue-{n + 2},part:<{n}" for n in range(others)]
        ready = [asyncio.Event() for _ in filters]
        readers = [asyncio.create_task(read(*each)) for each in enumerate(filters)]
        await asyncio.gather(*(each.wait() for each in ready))
        count = int(_RATE * _SECONDS)
        began, before = time.monotonic(), stage.cpu()
        for n in range(count):
            await asyncio.sleep(max(0.0, began + n / _RATE - time.monotonic()))
            request = pb.PublishEventRequest(event_type="x", topic="many")
            request.data.update({"issue_id": "issue-1", "part": n % 100})
            await stubs[0].PublishEvent(request, metadata=stage.agent(0).metadata)
        spent = stage.cpu() - before
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        return 1e6 * spent / count


class Poll(asyncio.Protocol):
    """A long poll over HTTP that costs its process next to nothing; ``answered`` is when the answer began."""

    def __init__(self, path: str, agent: Agent) -> None:
        token = agent.headers["Authorization"]
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".encode()
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            assert data.startswith(b"HTTP/1.1 200"), data
            self.answered.set_result(time.perf_counter())


async def wake_ups(stage: Stage) -> tuple[list[float], float]:
    """Milliseconds from the publication until each poll is answered, and KB of the server's memory for each."""
    loop = asyncio.get_running_loop()
    before = stage.process.memory_info().rss
    polls = []
    for number in range(POLLS):
        poll = Poll("/api/events/wait/wake?timeout=60000&since=$", stage.agent(number))
        transport, _ = await loop.create_connection(lambda poll=poll: poll, "127.0.0.1", stage.sidecar.port)
        polls.append((poll, transport))
    while await asyncio.to_thread(stage.readers) < POLLS:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    memory = (stage.process.memory_info().rss - before) / 1024 / POLLS
    await asyncio.sleep(1)
    async with stage.channels() as stubs:
        began = time.perf_counter()
        request = pb.PublishEventRequest(event_type="wake", topic="many")
        await stubs[0].PublishEvent(request, metadata=stage.agent(0).metadata)
        woken = [1000 * (await poll.answered - began) for poll, _ in polls]
    for _, transport in polls:
        transport.close()
    return woken, memory


async def measure(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        (base / "root").mkdir()
        sidecar = SidecarProcess(base / "storage", base / "root")
        try:
            stage = Stage(sidecar)
            found = [await wake_ups(stage) for _ in range(rounds)]
            p99 = statistics.median(percentile(times, 0.99) for times, _ in found)
            p50 = statistics.median(percentile(times, 0.5) for times, _ in found)
            print(f"{POLLS} parked polls: {p50:.0f} ms (p50), {p99:.0f} ms (p99), {found[0][1]:.0f} KB each")
            await cost(stage, 0)
            few, many = [], []
            for _ in range(rounds):
                few.append(await cost(stage, 0))
                many.append(await cost(stage, OTHERS))
            ratios = [after / before for before, after in zip(few, many, strict=True)]
            beside, ratio = statistics.median(many), statistics.median(ratios)
            print(f"{MATCHING} filters: {statistics.median(few):.0f} us of CPU per event")
            print(f"{MATCHING + OTHERS} filters, of which {MATCHING} match: {beside:.0f} us, {ratio:.2f} times")
        finally:
            sidecar.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    uvloop.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
