"""One, two and four sidecars on one PostgreSQL and one NATS, under the same load: `make bench-cluster`.

The clients are as many for each number of sidecars, and are shared out evenly. Each publishes an event, waits until it
is on disk, and publishes the next; readers at every sidecar get all of them. In between, clients store results. All of
it runs on one machine: what is measured is what more sidecars cost and give there, not what more machines would give.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import uvloop
from bench.plot import Bar, bars
from tests.support import postgres
from tests.support.nats import NatsServer
from tests.support.sidecars import small_repository
from tests.support.team import Team, leader_of

from cco_sidecar.client import AsyncClient
from cco_sidecar.testing.process import SidecarProcess

_CLIENTS = 16
_READERS = 4
_PICTURE = Path(__file__).parents[1] / "docs" / "images" / "cluster.svg"


class Measured(NamedTuple):
    """Rates a second, milliseconds, and the CPU of the sidecars as a share of the machine."""

    published: float
    p50: float
    p99: float
    delivered_p99: float
    results: float
    cpu: float


async def load(sidecars: list[SidecarProcess], seconds: float) -> Measured:
    token = sidecars[0].operator.token
    clients = [
        AsyncClient(each.url, token=token, grpc_target=each.target)
        for each in (sidecars[number % len(sidecars)] for number in range(_CLIENTS))
    ]
    project = f"bench-{len(sidecars)}-{time.time_ns()}"
    took: list[float] = []
    late: list[float] = []
    stored = 0
    sent: dict[int, float] = {}
    over = time.monotonic() + seconds

    async def publish(client: AsyncClient, number: int) -> None:
        count = number
        while time.monotonic() < over:
            began = sent[count] = time.monotonic()
            await client.events.publish("bench", {"n": count}, project_id=project)
            took.append(time.monotonic() - began)
            count += _CLIENTS

    async def read(client: AsyncClient) -> None:
        async for event in client.events.subscribe(project_id=project, since="0"):
            now = time.monotonic()
            late.append(now - sent[int(event.data["n"])])

    async def store(client: AsyncClient, number: int) -> None:
        nonlocal stored
        while time.monotonic() < over:
            await client.results.create(
                {"status": "success", "summary": "bench"},
                agent_type="python-specialist",
                issue_id=f"issue-{number}",
                project_id=project,
            )
            stored += 1
            await asyncio.sleep(0.05)

    processes = [psutil.Process(each.process.pid) for each in sidecars]
    before = sum(sum(each.cpu_times()[:2]) for each in processes)
    reading = [asyncio.create_task(read(clients[number % len(clients)])) for number in range(_READERS)]
    await asyncio.gather(
        *(publish(client, number) for number, client in enumerate(clients)),
        *(store(clients[number], number) for number in range(2)),
    )
    cpu = (sum(sum(each.cpu_times()[:2]) for each in processes) - before) / seconds / (psutil.cpu_count() or 1)
    await asyncio.sleep(0.5)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    for client in clients:
        await client.close()
    return Measured(
        len(took) / seconds, _share(took, 0.5), _share(took, 0.99), _share(late, 0.99), stored / seconds, cpu
    )


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", action="store_true", help="draw docs/images/cluster.svg")
    chosen = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-cluster-"))
    binaries = postgres.programs()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    measured: dict[int, list[Measured]] = {1: [], 2: [], 4: []}
    with postgres.Cluster(binaries) as database:
        nats = NatsServer(directory / "nats")
        team = Team(directory, small_repository(directory / "repository"), database.url, nats.url)
        try:
            started: list[SidecarProcess] = []
            for count, figures in measured.items():
                while len(started) < count:
                    started.append(team.start(f"sidecar-{len(started)}"))
                leader_of(started[-1])
                for _ in range(chosen.rounds):
                    figures.append(uvloop.run(load(started, chosen.seconds)))
        finally:
            team.stop()
            nats.stop()
            shutil.rmtree(directory, ignore_errors=True)
    rows = []
    print(f"{_CLIENTS} publishers, {_READERS} readers of everything, medians of {chosen.rounds}")
    print("sidecars   events/s   p50 ms   p99 ms   delivered p99 ms   results/s   CPU of the machine")
    for count, figures in measured.items():
        median = Measured(*(statistics.median(values) for values in zip(*figures, strict=True)))
        print(
            f"{count:8}{median.published:11,.0f}{median.p50:9.1f}{median.p99:9.1f}{median.delivered_p99:19.1f}"
            f"{median.results:12.0f}{median.cpu:21.0%}"
        )
        rows.append(
            Bar(f"{count} sidecar{'s' if count > 1 else ''}", median.p50, median.p99, f"{median.published:,.0f}/s")
        )
    if chosen.picture:
        bars("publishing with one, two and four sidecars", rows, _PICTURE)


if __name__ == "__main__":
    main()
