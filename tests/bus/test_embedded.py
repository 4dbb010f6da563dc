"""The embedded bus over a real log: retention, gaps, disk errors."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.bus.contract import *  # noqa: F403
from tests.bus.contract import event, ids, keyed, publish, read

from cco_sidecar.bus import commits, idempotency
from cco_sidecar.bus.base import Outgoing, SubscriptionKey
from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.log import SegmentLog
from orchestra.v1.event_service_pb2 import Event


class ManualClock(Clock):
    """``ahead``: time that has passed; ``off``: the error of the wall clock on top of that."""

    def __init__(self) -> None:
        self.ahead = self.off = 0

    def micros(self) -> int:
        return super().micros() + self.ahead + self.off

    def steady_micros(self) -> int:
        return super().steady_micros() + self.ahead


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[EmbeddedBus]:
    log = SegmentLog(tmp_path)
    bus = EmbeddedBus(log, ManualClock(), Settings(max_events=100))
    yield bus
    await bus.close()
    await log.close()


async def test_a_trimmed_cursor_is_a_declared_gap(bus: EmbeddedBus) -> None:
    first = await publish(bus)
    for _ in range(400):
        await publish(bus)
    batch = await read(bus, first)
    assert batch.gap is not None
    assert batch.gap.since == first
    assert batch.gap.missed + len(batch.entries) == 400
    assert 100 <= len(batch.entries) < 400


async def test_a_filtered_reader_sees_no_gap_when_it_missed_nothing(bus: EmbeddedBus) -> None:
    """Events that do not match its filter are trimmed while it waits: it has missed nothing."""
    start = await bus.start_of("p", "", None)
    waiting = asyncio.create_task(
        bus.wait("p", SubscriptionKey(frozenset({"rare"})), start, "reader", timeout=30, limit=10)
    )
    await asyncio.sleep(0)
    for _ in range(600):
        await publish(bus, "common")
    rare = await publish(bus, "rare")
    batch = await waiting
    assert ids(batch) == [rare] and batch.gap is None


async def test_old_events_are_trimmed_by_age(bus: EmbeddedBus) -> None:
    await publish(bus)
    bus._clock.ahead = 25 * 3600 * 10**6  # type: ignore[attr-defined]
    kept = await publish(bus)
    bus._housekeep()
    assert ids(await read(bus, "0")) == [kept]


@pytest.mark.parametrize("hours", [25, -25, 24 * 400])
async def test_a_wall_clock_jump_deletes_nothing(bus: EmbeddedBus, hours: int) -> None:
    clock: ManualClock = bus._clock  # type: ignore[assignment]
    before = await publish(bus)
    clock.off = hours * 3600 * 10**6
    during = await publish(bus)
    bus._housekeep()
    assert ids(await read(bus, "0")) == [before, during]
    clock.off = 0
    bus._housekeep()
    assert ids(await read(bus, "0")) == [before, during]


async def test_expired_segments_are_deleted_while_idle_and_numbering_continues(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    clock = ManualClock()
    idle = EmbeddedBus(log, clock, Settings())
    last = await publish(idle)
    (segment,) = (tmp_path / "p").iterdir()
    clock.ahead = 25 * 3600 * 10**6
    idle._housekeep()
    await idle.close()
    await log.close()
    assert not segment.exists()
    log = SegmentLog(tmp_path)
    again = EmbeddedBus(log, clock, Settings())
    following = await publish(again)
    assert following.rpartition("-")[0] == last.rpartition("-")[0]
    assert int(following[-10:]) > int(last[-10:])
    await again.close()
    await log.close()


async def test_a_full_disk_is_refused_and_recovers(
    bus: EmbeddedBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await publish(bus, text="before")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SidecarError) as caught:
        await publish(bus, text="lost")
    assert caught.value.code == "STR_001" and bus.failing
    monkeypatch.undo()
    after = await publish(bus, text="after")
    assert not bus.failing
    assert ids(await read(bus, "0")) == [before, after]
    reopened = SegmentLog(tmp_path)
    opened = await reopened.open("p")
    await reopened.close()
    assert [Event.FromString(record.payload).data["text"] for record in opened.records] == ["before", "after"]
    again = EmbeddedBus(SegmentLog(tmp_path), ManualClock(), Settings())
    assert ids(await read(again, "0")) == [before, after]
    await again.close()


# -- idempotency keys, conditions, back-pressure -----------------------------------------------------------


async def test_keys_and_the_newest_event_of_a_topic_survive_a_restart(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    bus = EmbeddedBus(log, ManualClock(), Settings())
    first = await bus.publish(keyed("k", n=1))
    await bus.close()
    await log.close()
    log = SegmentLog(tmp_path)
    bus = EmbeddedBus(log, ManualClock(), Settings())
    again = await bus.publish(keyed("k", n=1))
    assert again.duplicate and (again.event_id, again.timestamp) == (first.event_id, first.timestamp)
    with pytest.raises(SidecarError, match="was used for another event"):
        await bus.publish(keyed("k", n=2))
    after = await bus.publish(Outgoing("p", event(), expected_last=first.event_id))
    assert ids(await read(bus, "0")) == [first.event_id, after.event_id]
    await bus.close()
    await log.close()


async def test_a_key_is_forgotten_after_its_window(bus: EmbeddedBus) -> None:
    first = await bus.publish(keyed("k"))
    bus._clock.ahead = (idempotency.WINDOW_SECONDS - 1) * 10**6  # type: ignore[attr-defined]
    assert (await bus.publish(keyed("k"))).duplicate
    bus._clock.ahead = (idempotency.WINDOW_SECONDS + 1) * 10**6  # type: ignore[attr-defined]
    later = await bus.publish(keyed("k"))
    assert not later.duplicate and later.event_id != first.event_id


async def test_a_key_whose_event_could_not_be_written_can_be_used_again(
    bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(bus)
    monkeypatch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(SidecarError) as failed:
        await bus.publish(keyed("k"))
    assert failed.value.code == "STR_001"
    monkeypatch.undo()
    assert not (await bus.publish(keyed("k"))).duplicate


async def test_publishers_are_told_before_memory_grows(bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_MAX_WAITING_BYTES", 10_000)
    go_on = threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        go_on.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    accepted: list[asyncio.Future[object]] = []
    with pytest.raises(SidecarError, match="wait to be written") as refused:
        for _ in range(100):
            accepted.append(asyncio.ensure_future(bus.publish(Outgoing("p", event(text="x" * 1000)))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if accepted[-1].done():
                accepted.pop().result()
    assert refused.value.code == "EVT_004" and refused.value.retry_after_seconds == 1
    assert 9 <= len(accepted) <= 11, "ten events of about a thousand bytes"
    go_on.set()
    await asyncio.gather(*accepted)
    assert len(ids(await read(bus, "0"))) == len(accepted)
    await publish(bus)
