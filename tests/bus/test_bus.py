"""The bus over a real log: order, cursors, retention, gaps, disk errors."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cco_sidecar.bus.bus import Batch, EventBus
from cco_sidecar.bus.group import Interest
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.eventlog import EventLog
from orchestra.v1.event_service_pb2 import Event

ALL = Interest()


class MovingClock(Clock):
    """``ahead``: time that has passed; ``off``: by how much the wall clock is wrong besides."""

    def __init__(self) -> None:
        self.ahead = self.off = 0

    def micros(self) -> int:
        return super().micros() + self.ahead + self.off

    def steady_micros(self) -> int:
        return super().steady_micros() + self.ahead


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[EventBus]:
    log = EventLog(tmp_path)
    bus = EventBus(log, MovingClock(), max_events=100)
    yield bus
    await bus.close()
    log.close()


async def publish(bus: EventBus, event_type: str = "x", project: str = "p", **data: object) -> str:
    event = Event(event_type=event_type, topic="t", publisher="me")
    event.data.update(data)
    return (await bus.publish(project, event)).event.event_id


async def read(bus: EventBus, since: str, interest: Interest = ALL, project: str = "p", limit: int = 1000) -> Batch:
    start = bus.start_of(project, since, None)
    return await bus.wait(project, interest, start, "reader", timeout=0, limit=limit, since=since)


def ids(batch: Batch) -> list[str]:
    return [entry.event.event_id for entry in batch.entries]


async def test_every_follower_gets_every_event_once_and_in_order(bus: EventBus) -> None:
    seen: list[list[str]] = [[] for _ in range(40)]

    async def follow(number: int) -> None:
        interest = Interest(filter=f"n:{number % 4}") if number % 2 else ALL
        async for batch in bus.follow("p", interest, bus.start_of("p", "0", None), f"reader-{number}"):
            seen[number] += ids(batch)

    readers = [asyncio.create_task(follow(number)) for number in range(40)]
    published: list[tuple[int, str]] = []

    async def writer(number: int) -> None:
        for turn in range(4):
            n = (number + turn) % 4
            published.append((n, await publish(bus, n=n)))

    await asyncio.gather(*map(writer, range(20)))
    expected = sorted(published, key=lambda pair: pair[1])
    while min(map(len, seen)) < 20:
        await asyncio.sleep(0)
    bus.stop_readers()
    await asyncio.gather(*readers)
    for number, got in enumerate(seen):
        wanted = [event_id for n, event_id in expected if number % 2 == 0 or n == number % 4]
        assert got == wanted


async def test_a_project_sees_nothing_of_another(bus: EventBus) -> None:
    await publish(bus, project="p")
    assert ids(await read(bus, "0", project="q")) == []


async def test_a_trimmed_cursor_is_a_declared_gap(bus: EventBus) -> None:
    first = await publish(bus)
    for _ in range(400):
        await publish(bus)
    batch = await read(bus, first)
    assert batch.gap is not None
    assert batch.gap.since == first
    assert batch.gap.missed + len(batch.entries) == 400
    assert 100 <= len(batch.entries) < 400


async def test_a_filtered_reader_is_not_told_of_a_gap_that_is_none(bus: EventBus) -> None:
    """Events that do not match it are trimmed while it waits: it has missed nothing."""
    start = bus.start_of("p", "", None)
    waiting = asyncio.create_task(bus.wait("p", Interest(frozenset({"rare"})), start, "reader", timeout=30, limit=10))
    await asyncio.sleep(0)
    for _ in range(600):
        await publish(bus, "common")
    rare = await publish(bus, "rare")
    batch = await waiting
    assert ids(batch) == [rare] and batch.gap is None


async def test_old_events_are_trimmed_by_age(bus: EventBus) -> None:
    await publish(bus)
    bus._clock.ahead = 25 * 3600 * 10**6  # type: ignore[attr-defined]
    kept = await publish(bus)
    bus._housekeep()
    assert ids(await read(bus, "0")) == [kept]


@pytest.mark.parametrize("hours", [25, -25, 24 * 400])
async def test_a_wall_clock_that_jumps_deletes_nothing(bus: EventBus, hours: int) -> None:
    clock: MovingClock = bus._clock  # type: ignore[assignment]
    before = await publish(bus)
    clock.off = hours * 3600 * 10**6
    during = await publish(bus)
    bus._housekeep()
    assert ids(await read(bus, "0")) == [before, during]
    clock.off = 0
    bus._housekeep()
    assert ids(await read(bus, "0")) == [before, during]


async def test_expired_segments_are_deleted_while_idle_and_numbers_go_on(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    clock = MovingClock()
    idle = EventBus(log, clock)
    last = await publish(idle)
    (segment,) = (tmp_path / "p").iterdir()
    clock.ahead = 25 * 3600 * 10**6
    idle._housekeep()
    await idle.close()
    log.close()
    assert not segment.exists()
    log = EventLog(tmp_path)
    again = EventBus(log, clock)
    following = await publish(again)
    assert following.rpartition("-")[0] == last.rpartition("-")[0]
    assert int(following[-10:]) > int(last[-10:])
    await again.close()
    log.close()


async def test_a_cursor_of_an_emptied_storage_is_a_gap(bus: EventBus) -> None:
    new = await publish(bus)
    batch = await read(bus, "evt-00000000-0000000007")
    assert batch.gap is not None and batch.gap.missed == 0 and ids(batch) == [new]


@pytest.mark.parametrize("since", ["evt", "evt-xyz-1", "1", "evt-00000000-1", "'; drop"])
async def test_what_is_no_cursor_is_refused(bus: EventBus, since: str) -> None:
    with pytest.raises(SidecarError) as caught:
        bus.start_of("p", since, None)
    assert caught.value.code == "EVT_002"


async def test_too_large_an_event_is_refused(bus: EventBus) -> None:
    with pytest.raises(SidecarError) as caught:
        await publish(bus, text="x" * 300_000)
    assert caught.value.code == "EVT_002"


async def test_a_full_disk_refuses_and_recovers(bus: EventBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await publish(bus)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SidecarError) as caught:
        await publish(bus, text="lost")
    assert caught.value.code == "EVT_001" and bus.failing
    monkeypatch.undo()
    after = await publish(bus)
    assert not bus.failing
    assert ids(await read(bus, "0")) == [before, after]
    reopened = EventLog(tmp_path)
    _, _, records = reopened.open("p")
    reopened.close()
    assert [Event.FromString(record.payload).event_id for record in records] == [before, after]
