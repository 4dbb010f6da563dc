"""How long a sidecar takes to be ready with many events on disk. ``python -m bench.restart [--events N ...]``.

A log of so many events is written, and a sidecar is started on it until it answers, in turn with one on an empty log:
the difference is what the events cost. The last columns are the engine alone, the memory that it takes, and how long
the first reader waits for the oldest and the newest events.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import uvloop

from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.base import NewEvent
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.event_service_pb2 import Event

_PROJECT = "default"
_BATCH = 5000
_MOST = 10_000_000
# Between two events: ten million are an hour and 23 minutes.
_APART_MICROS = 500
_ROUNDS = 5
_SETTINGS = {"CCO_SIDECAR_MAX_EVENTS": str(_MOST), "CCO_SIDECAR_EVENT_DISK_MB": "100000"}


async def write(directory: Path, count: int) -> None:
    """Fills a log with events of usual size."""
    (directory / "events").mkdir(parents=True)
    log = SegmentLog(directory / "events")
    await log.open(_PROJECT)
    event = Event(event_type="code_written", topic="coding", publisher="agent-1", correlation_id="issue-1")
    event.data.update({"issue_id": "issue-1", "files": ["src/api/orders.py", "tests/api/test_orders.py"]})
    begin = Clock().micros() - count * _APART_MICROS
    for first in range(0, count, _BATCH):
        batch = []
        for number in range(first, min(first + _BATCH, count)):
            micros = begin + number * _APART_MICROS
            event.timestamp.FromMicroseconds(micros)
            batch.append(NewEvent(_PROJECT, micros, 365 * 86_400, event.SerializeToString()))
        await log.append(batch)
    await log.close()


def started(directory: Path) -> float:
    """Seconds until a sidecar on a storage answers."""
    began = time.perf_counter()
    sidecar = SidecarProcess(directory, directory.parent, environment=_SETTINGS)
    took = time.perf_counter() - began
    sidecar.kill()
    return took


class Engine(NamedTuple):
    """Seconds to open, to read the oldest and the newest events, and to accept a publisher's condition on a topic; MB
    that it took to open."""

    opened: float
    oldest: float
    newest: float
    memory: float


async def engine(directory: Path) -> Engine:
    process = psutil.Process()
    before = process.memory_info().rss
    log = SegmentLog(directory / "events")
    bus = EmbeddedBus(log, Clock(), Settings(max_events=_MOST, event_disk_mb=100_000))
    times = [time.perf_counter()]
    await bus.start()
    times.append(time.perf_counter())
    memory = (process.memory_info().rss - before) / 2**20
    await bus.read(_PROJECT, 0, 100)
    times.append(time.perf_counter())
    await bus.select(_PROJECT, None, 100, lambda _: True, "reader")
    times.append(time.perf_counter())
    await bus.close()
    await log.close()
    opened, oldest, newest = (after - before for before, after in itertools.pairwise(times))
    return Engine(opened, oldest, newest, memory)


def measured(directory: Path) -> Engine:
    """The engine in a process of its own, so that its memory is all that grows."""
    read, written = os.pipe()
    if os.fork() == 0:
        os.write(written, repr(tuple(uvloop.run(engine(directory)))).encode())
        os._exit(0)
    os.wait()
    figures = os.read(read, 4096).decode()
    return Engine(*(float(each) for each in figures.strip("()").split(",")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 1_000_000, _MOST])
    counts = parser.parse_args().events
    print("     events   on disk    ready  an empty one   the engine   memory   oldest   newest")
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            full, empty = Path(scratch, "full"), Path(scratch, "empty")
            asyncio.run(write(full, count))
            size = sum(path.stat().st_size for path in full.rglob("*.log")) / 2**20
            rounds = [(started(full), started(empty), measured(full)) for _ in range(_ROUNDS)]
            ready, nothing = (statistics.median(each[column] for each in rounds) for column in (0, 1))
            of_engine = Engine(
                *(statistics.median(column) for column in zip(*(each[2] for each in rounds), strict=True))
            )
            print(
                f"{count:11,} {size:6,.0f} MB {ready:6.2f} s {nothing:11.2f} s {1000 * of_engine.opened:9.0f} ms "
                f"{of_engine.memory:5.0f} MB {1000 * of_engine.oldest:5.0f} ms {1000 * of_engine.newest:5.0f} ms"
            )


if __name__ == "__main__":
    main()
