"""The figures of `make bench`: the sidecar next to bare peers, in one run on one machine.

The ratios are what count: both sides of a ratio run one after the other, three times, and the median is taken.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop
from bench import spawn
from bench.ports import free_port, wait_for_port
from tests.support.repositories import large

from cco_sidecar.client import AsyncClient
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import event_service_pb2 as events

SECONDS = float(os.environ.get("SECONDS_EACH", "3"))
ROUNDS = 3
CALLERS = 16
AGENTS = 119
_UNLIMITED = {"agents": {"rate_limits": {"coding_specialists": 10_000_000}}}


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Peer:
    """A bare peer in its own process."""

    def __init__(self, kind: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.peers", kind, str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        wait_for_port(self.port)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


# -- unary gRPC -----------------------------------------------------------------------------------------


async def unary_rate(target: str, path: str, payload: bytes, metadata: Any) -> float:
    """Calls per second with CALLERS callers on one channel; both sides use raw bytes on the client."""
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary(path)
        await call(payload, metadata=metadata)
        done, end = 0, time.perf_counter() + SECONDS

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await call(payload, metadata=metadata)
                done += 1

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return done / (time.perf_counter() - started)


async def grpc_ratio(sidecar: SidecarProcess, agent: Agent) -> None:
    echo = Peer("grpc")
    publish = events.PublishEventRequest(event_type="bench", topic="testing")
    publish.data.update({"issue_id": agent.issue, "status": "success", "pad": "x" * 100})
    light = events.ListEventsRequest(limit=1).SerializeToString()
    cases = [
        ("bare grpc.aio echo", f"127.0.0.1:{echo.port}", "/bench.Echo/Echo", b"x" * 200, None),
        ("whole chain, ListEvents", sidecar.target, "/orchestra.v1.EventService/ListEvents", light, agent.metadata),
        ("whole chain, PublishEvent (durable)", sidecar.target, "/orchestra.v1.EventService/PublishEvent",
         publish.SerializeToString(), agent.metadata),
    ]  # fmt: skip
    measured: dict[str, list[float]] = {name: [] for name, *_ in cases}
    for _ in range(ROUNDS):
        for name, *case in cases:
            measured[name].append(await unary_rate(*case))
    report("Unary gRPC, calls per second", [(name, statistics.median(rates)) for name, rates in measured.items()])
    echo.stop()


# -- REST -----------------------------------------------------------------------------------------------


def rest_rate(port: int, method: str, path: str, headers: dict[str, str], body: bytes | None) -> float:
    """Requests per second, measured with wrk if installed, otherwise with a few threads on raw connections."""
    wrk = subprocess.run(["which", "wrk"], capture_output=True, text=True, check=False).stdout.strip()
    if wrk:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            lines = [f'wrk.method = "{method}"', *(f'wrk.headers["{k}"] = "{v}"' for k, v in headers.items())]
            if body is not None:
                lines.append(f"wrk.body = {json.dumps(body.decode())}")
            script.write("\n".join(lines))
            script.flush()
            url = f"http://127.0.0.1:{port}{path}"
            command = [wrk, "-t1", "-c32", f"-d{int(SECONDS)}", "-s", script.name, url]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in text, text
        return float(text.split("Requests/sec:")[1].split()[0])
    counts: list[int] = []
    end = time.perf_counter() + SECONDS

    def caller() -> None:
        connection, done = http.client.HTTPConnection("127.0.0.1", port), 0
        while time.perf_counter() < end:
            connection.request(method, path, body, headers)
            connection.getresponse().read()
            done += 1
        counts.append(done)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def rest_ratio(sidecar: SidecarProcess, agent: Agent) -> None:
    bare = Peer("asgi")
    headers = agent.headers | {"Content-Type": "application/json"}
    data = {"issue_id": agent.issue, "status": "success", "pad": "x" * 60}
    body = json.dumps({"event_type": "bench", "topic": "testing", "data": data}).encode()
    cases: list[tuple[str, Any]] = [
        ("bare ASGI handler on uvicorn, POST", (bare.port, "POST", "/api/events/bench", headers, body)),
        ("whole chain, GET /api/events", (sidecar.port, "GET", "/api/events?limit=1", headers, None)),
        ("whole chain, POST /api/events (durable)", (sidecar.port, "POST", "/api/events/bench", headers, body)),
    ]
    report("REST, requests per second", run_rounds([(name, lambda c=c: rest_rate(*c)) for name, c in cases]))
    bare.stop()


def run_rounds(cases: list[tuple[str, Callable[[], float]]]) -> list[tuple[str, float]]:
    measured: dict[str, list[float]] = {name: [] for name, _ in cases}
    for _ in range(ROUNDS):
        for name, work in cases:
            measured[name].append(work())
    return [(name, statistics.median(values)) for name, values in measured.items()]


def report(title: str, rows: list[tuple[str, float]]) -> None:
    print(f"\n{title} (median of {ROUNDS})")
    for name, rate in rows:
        print(f"  {name:<42}{rate:>10,.0f}   {rate / rows[0][1]:.2f} of bare")


# -- fan-out and 119 agents at work -----------------------------------------------------------------


async def deliveries(sidecar: SidecarProcess, agents: list[Agent], per_second: int) -> tuple[float, list[float]]:
    """Deliveries per second to AGENTS subscribers, and the latency from publish to arrival in milliseconds."""
    clients = [AsyncClient(sidecar.url, token=agents[0].token, grpc_target=sidecar.target) for _ in range(8)]
    latencies: list[float] = []
    ready = asyncio.Barrier(len(agents) + 1)
    total = int(per_second * SECONDS)

    async def listen(client: AsyncClient, agent: Agent) -> None:
        stream = client.events._stub.Subscribe(events.SubscribeRequest(event_types=["fan"]), metadata=agent.metadata)
        await stream.read()
        await ready.wait()
        got = 0
        while got < total:
            batch = await stream.read()
            now = time.time()
            got += len(batch.events)
            latencies.extend((now - event.data.fields["t"].number_value) * 1000 for event in batch.events[:1])
        stream.cancel()

    # A listener that fails ends the measurement.
    async with asyncio.TaskGroup() as group:
        for number, agent in enumerate(agents):
            group.create_task(listen(clients[number % len(clients)], agent))
        await ready.wait()
        started = time.perf_counter()
        for number in range(total):
            await asyncio.sleep(max(0.0, started + number / per_second - time.perf_counter()))
            group.create_task(clients[0].events.publish("fan", {"t": time.time()}))
    rate = total * len(agents) / (time.perf_counter() - started)
    for client in clients:
        await client.close()
    return rate, latencies


async def at_work(sidecar: SidecarProcess, agents: list[Agent]) -> tuple[list[float], list[float]]:
    """Milliseconds of publishes and of cached contexts while AGENTS agents work: each has a subscription open and makes
    two calls a second.
    """
    publishes: list[float] = []
    contexts: list[float] = []
    warm = asyncio.Barrier(len(agents))
    one_at_a_time = asyncio.Semaphore(4)

    async def timed(work: Awaitable[Any], into: list[float]) -> None:
        started = time.perf_counter()
        await work
        into.append((time.perf_counter() - started) * 1000)

    async def run_agent(number: int, agent: Agent) -> None:
        async with AsyncClient(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
            stream = client.events._stub.Subscribe(
                events.SubscribeRequest(filter=f"issue_id:{agent.issue}"), metadata=agent.metadata
            )
            await stream.read()
            async with one_at_a_time:
                await client.context.get(agent.issue, agent.type)
            await warm.wait()
            end = time.perf_counter() + max(5.0, SECONDS)
            await asyncio.sleep(number / AGENTS)
            while time.perf_counter() < end:
                await timed(client.events.publish("work", {"issue_id": agent.issue}), publishes)
                await asyncio.sleep(0.5)
                await timed(client.context.get(agent.issue, agent.type), contexts)
                await asyncio.sleep(0.5)
            stream.cancel()

    await asyncio.gather(*(run_agent(number, agent) for number, agent in enumerate(agents)))
    return publishes, contexts


def line(name: str, values: list[float]) -> None:
    shares = "  ".join(f"p{int(share * 100)} {percentile(values, share):6.1f}" for share in (0.5, 0.95, 0.99))
    print(f"  {name:<42}{shares}   ms, {len(values)} calls")


async def measure() -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        root = base / "repository"
        root.mkdir()
        large(root, 2000)
        (root / "infra.tf").write_text("# the agents' own file\n" * 500)
        config = base / "config.json"
        config.write_text(json.dumps(_UNLIMITED))
        sidecar = SidecarProcess(base / "storage", root, config=config)
        try:
            print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, grpcio {grpc.__version__}")
            agent = sidecar.agent("terraform-specialist", ttl_seconds=86_400)
            await grpc_ratio(sidecar, agent)
            await asyncio.to_thread(rest_ratio, sidecar, agent)
            agents = [sidecar.agent("terraform-specialist", issue=f"i-{n}", ttl_seconds=86_400) for n in range(AGENTS)]
            print(f"\nFan-out to {AGENTS} subscribers (Python clients in one process)")
            for rate in (50, 200):
                delivered, latencies = await deliveries(sidecar, agents, rate)
                line(f"{rate} events/s: {delivered:,.0f} deliveries/s", latencies)
            context = sidecar.request("GET", "/api/context/i-0/terraform-specialist", agents[0], timeout=60)
            size = context.json()["total_size_bytes"]
            publishes, contexts = await at_work(sidecar, agents)
            print(f"\n{AGENTS} agents at work on {sum(1 for _ in root.rglob('*.py')):,} files")
            line("publish", publishes)
            line(f"cached context of {size / 1000:,.0f} kB", contexts)
            figures = await asyncio.to_thread(spawn.measure, sidecar, AGENTS, base)
            print(f"\n{AGENTS} agents spawned at once")
            line("spawn to first context", figures.first_context)
            line("spawn answered: the process runs", figures.answered)
            line("a bare Python program, as many at once", figures.bare_start)
            print(f"  memory per agent: shim {figures.shim_mb:.1f} MB, sidecar {figures.sidecar_mb:.2f} MB")
            print(f"  (the agent itself, a Python program: {figures.agent_mb:.1f} MB)")
        finally:
            sidecar.stop()


if __name__ == "__main__":
    uvloop.run(measure())
