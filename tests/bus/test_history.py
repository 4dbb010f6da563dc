"""Events that are not in memory are served like those that are."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.bus.contract import *  # noqa: F403
from tests.bus.contract import ALL, event, ids, keyed, publish, read
from tests.bus.test_embedded import ManualClock

from cco_sidecar.bus.base import FROM_OLDEST, Outgoing, Position, SubscriptionKey
from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.core.clock import micros_of
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.log import SegmentLog

SEGMENT_BYTES = 3000


class Life:
    """A bus that has only the newest event in memory, on a log that opens with three."""

    def __init__(self, directory: Path, clock: ManualClock, **settings: int) -> None:
        self.log = SegmentLog(directory, segment_bytes=SEGMENT_BYTES, max_opened=3)
        self.bus = EmbeddedBus(self.log, clock, Settings(**{"event_memory_mb": 0, **settings}))

    async def close(self) -> None:
        await self.bus.close()
        await self.log.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def life(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Life]:
    made = Life(tmp_path, clock)
    yield made
    await made.close()


@pytest.fixture
def bus(life: Life) -> EmbeddedBus:
    return life.bus


async def published(bus: EmbeddedBus, count: int, clock: ManualClock | None = None) -> list[str]:
    made = []
    for n in range(count):
        if clock is not None:
            clock.ahead += 1_000_000
        made.append(await publish(bus, "odd" if n % 2 else "even", n=n))
    return made


async def everything(bus: EmbeddedBus, since: str = FROM_OLDEST, key: SubscriptionKey = ALL) -> list[str]:
    found: list[str] = []
    while True:
        batch = await read(bus, since, key, limit=7)
        assert batch.gap is None
        if not batch.entries:
            return found
        found += ids(batch)
        since = batch.cursor


@pytest.mark.parametrize("restarted", [False, True])
async def test_all_ways_of_reading_find_what_is_on_disk(tmp_path: Path, clock: ManualClock, restarted: bool) -> None:
    life = Life(tmp_path, clock)
    made = await published(life.bus, 200, clock)
    if restarted:
        await life.close()
        life = Life(tmp_path, clock)
    bus = life.bus
    await bus.start()
    assert len(list((tmp_path / "p").iterdir())) >= 5
    assert await everything(bus) == made
    assert await everything(bus, made[20]) == made[21:]
    assert await everything(bus, made[20], SubscriptionKey(frozenset({"odd"}))) == made[21::2]
    assert await everything(bus, made[20], SubscriptionKey(filter="n:42 | n:137")) == [made[42], made[137]]
    for start in (0, 1, 57, 150, 198, 199):
        entry = await bus.find("p", made[start])
        assert entry is not None and (entry.event_id, entry.event.event_id) == (made[start], made[start])
        micros = micros_of(entry.event.timestamp)
        assert await bus.start_of("p", "", micros) == Position(entry.seq - 1)
        assert await bus.start_of("p", "", micros + 1) == Position(entry.seq)
        assert await bus.is_published("p", event("odd" if start % 2 else "even", n=start))
    assert await bus.find("p", made[-1][:-10] + "0000000999") is None
    assert not await bus.is_published("p", event("odd", n=200))
    pages = [await bus.read("p", 0, 30)]
    while pages[-1].entries:
        pages.append(await bus.read("p", pages[-1].entries[-1].seq, 30))
    assert [entry.event_id for page in pages for entry in page.entries] == made
    for limit in (1, 10, 150, 500):
        newest, more = await bus.select("p", None, limit, lambda entry: entry.event_type == "odd", "reader")
        assert ([entry.event_id for entry in newest], more) == (made[1::2][-limit:], False)
        first, more = await bus.select("p", Position(10), limit, lambda entry: entry.event_type == "odd", "reader")
        assert ([entry.event_id for entry in first], more) == (made[11::2][:limit], limit < 95)
    await life.close()


async def test_more_than_is_read_at_once(bus: EmbeddedBus) -> None:
    texts = {1300: "x" * 200_000, 1301: "y" * 200_000}
    made: list[str] = []
    for first in range(0, 1500, 100):
        batch = [Outgoing("p", event(n=n, text=texts.get(n, "x" * (n % 50)))) for n in range(first, first + 100)]
        made += [each.event_id for each in await bus.publish_all(batch)]
    page = await bus.read("p", 0, 1200)
    assert [entry.event_id for entry in page.entries] == made[:1200]
    assert await everything(bus, made[700], SubscriptionKey(filter="n:>1290")) == made[1291:]


async def test_a_slow_reader_continues_on_disk_without_a_gap(bus: EmbeddedBus) -> None:
    """What its subscription had in memory is gone when it reads on."""
    follower = bus.follow("p", ALL, await bus.start_of("p", "", None), "slow")
    seen: list[str] = []
    assert not (await anext(follower)).entries
    made = await published(bus, 300)
    while len(seen) < 300:
        batch = await anext(follower)
        assert batch.gap is None
        seen += ids(batch)
    assert seen == made
    await follower.aclose()
    assert len(bus._channels["p"].journal.after(0, 500)) == 1, "all the others are only on disk"


async def test_retention_of_what_is_on_disk(tmp_path: Path, clock: ManualClock) -> None:
    life = Life(tmp_path, clock, max_events=100, event_retention=1000)
    made = await published(life.bus, 400, clock)
    life.bus._housekeep()
    batch = await read(life.bus, made[0], limit=500)
    assert batch.gap is not None and 100 <= len(batch.entries) < 150
    assert batch.gap.missed + len(batch.entries) == 399 and ids(batch) == made[-len(batch.entries) :]
    clock.ahead += 950 * 1_000_000
    life.bus._housekeep()
    left = ids(await read(life.bus, "0", limit=500))
    assert 50 <= len(left) < 100 and left == made[-len(left) :]
    clock.ahead += 1000 * 1_000_000
    life.bus._housekeep()
    assert not (await read(life.bus, "0")).entries
    await life.close()
    assert len(list((tmp_path / "p").iterdir())) == 1


async def test_the_size_on_disk_is_bounded(tmp_path: Path, clock: ManualClock) -> None:
    life = Life(tmp_path, clock, event_disk_mb=1)
    for n in range(60):
        await publish(life.bus, n=n, text="x" * 50_000)
    life.bus._housekeep()
    batch = await read(life.bus, "0", limit=500)
    await life.close()
    assert 15 <= len((await batch_of(tmp_path, clock)).entries) <= 21
    assert batch.entries[-1].fields["data"]["n"] == 59


async def batch_of(directory: Path, clock: ManualClock) -> object:
    life = Life(directory, clock)
    found = await life.bus.read("p", 0, 500)
    await life.close()
    return found


async def test_conditions_are_about_all_that_is_stored(tmp_path: Path, clock: ManualClock) -> None:
    life = Life(tmp_path, clock)
    first = await life.bus.publish(keyed("k", n=1))
    await published(life.bus, 100)
    other = event("rare")
    other.topic = "rare"
    rare = (await life.bus.publish(Outgoing("p", other))).event_id
    await published(life.bus, 100)
    await life.close()
    life = Life(tmp_path, clock)
    assert (await life.bus.publish(keyed("k", n=1))).event_id == first.event_id
    other = event("rare", n=2)
    other.topic = "rare"
    with pytest.raises(SidecarError, match=f"is {rare}, not 0"):
        await life.bus.publish(Outgoing("p", other, expected_last=FROM_OLDEST))
    clock.ahead += 601 * 1_000_000
    assert not (await life.bus.publish(keyed("k", n=1))).duplicate
    await life.bus.publish(Outgoing("p", other, expected_last=rare))
    await life.close()


async def test_readers_at_the_same_place_share_a_reading(bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await published(bus, 100)
    reads = 0
    real = SegmentLog.after

    async def counted(*arguments: object) -> object:
        nonlocal reads
        reads += 1
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentLog, "after", counted)
    found = await asyncio.gather(*(read(bus, "0", limit=500) for _ in range(50)))
    assert all(ids(batch) == made[: len(batch.entries)] for batch in found) and reads == 1


async def test_a_disk_that_cannot_be_read_is_an_error_and_not_the_end(
    bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await published(bus, 50)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(SidecarError, match="could not be read") as failed:
        await read(bus, "0")
    assert failed.value.code == "STR_002"
    monkeypatch.undo()
    assert await everything(bus) == made


@pytest.mark.parametrize("upto", [700, 1400, 2400])
@pytest.mark.parametrize("filter", ["", "n:>=0"])
async def test_what_is_trimmed_while_it_is_read_is_a_gap_and_no_more_than_that(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, upto: int, filter: str
) -> None:
    life = Life(tmp_path, clock)
    made = []
    for first in range(0, 3000, 100):
        made += await life.bus.publish_all([Outgoing("p", event(n=n)) for n in range(first, first + 100)])
    ids_ = [each.event_id for each in made]
    journal = life.bus._channels["p"].journal
    real = SegmentLog.after

    async def trimming(*arguments: object) -> object:
        found = await real(*arguments)  # type: ignore[arg-type]
        journal.trimmed = max(journal.trimmed, upto)
        return found

    monkeypatch.setattr(SegmentLog, "after", trimming)
    batch = await read(life.bus, ids_[0], SubscriptionKey(filter=filter), limit=10)
    assert batch.gap is not None
    assert (batch.gap.since, batch.gap.missed) == (ids_[0], upto - 1)
    assert ids(batch) == ids_[upto : upto + 10]
    monkeypatch.undo()
    page = await life.bus.read("p", 0, 10)
    assert [entry.event_id for entry in page.entries] == ids_[upto : upto + 10]
    listed, _ = await life.bus.select("p", Position(0), 10, lambda _: True, "reader")
    assert [entry.event_id for entry in listed] == ids_[upto : upto + 10]
    await life.close()


async def test_what_is_trimmed_before_it_is_scanned_is_a_gap(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path, clock)
    made = [each.event_id for each in await life.bus.publish_all([Outgoing("p", event(n=n)) for n in range(2000)])]
    journal = life.bus._channels["p"].journal
    real = life.bus._scans.slice

    def trimming(caller: str) -> object:
        journal.trimmed = max(journal.trimmed, 900)
        return real(caller)

    monkeypatch.setattr(life.bus._scans, "slice", trimming)
    batch = await read(life.bus, made[0], limit=10)
    assert batch.gap is not None and batch.gap.missed == 899
    assert ids(batch) == made[900:910]
    await life.close()


async def test_a_page_has_no_hole_where_a_trim_passed(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path, clock)
    made = [each.event_id for each in await life.bus.publish_all([Outgoing("p", event(n=n)) for n in range(2000)])]
    journal = life.bus._channels["p"].journal
    real = SegmentLog.after

    async def trimming(log: SegmentLog, project: str, seq: int, upto: int, count: int) -> object:
        found = await real(log, project, seq, upto, count)
        if seq > 0:
            # The first piece is there, and a part of the second is gone.
            journal.trimmed = 900
        return found

    monkeypatch.setattr(SegmentLog, "after", trimming)
    page = await life.bus.read("p", 0, 1500)
    assert [entry.event_id for entry in page.entries] == made[:500] and page.trimmed == 900
    page = await life.bus.read("p", 500, 100)
    assert [entry.event_id for entry in page.entries] == made[900:1000]
    await life.close()


async def test_a_gap_that_grows_before_it_is_told_is_one_gap(tmp_path: Path, clock: ManualClock) -> None:
    life = Life(tmp_path, clock)
    made = await published(life.bus, 300)
    journal = life.bus._channels["p"].journal
    journal.trimmed = 100
    start = await life.bus.start_of("p", made[0], None)
    journal.trimmed = 150
    batch = await life.bus.wait("p", ALL, start, "reader", timeout=0, limit=5, since=made[0])
    assert batch.gap is not None and (batch.gap.since, batch.gap.missed) == (made[0], 149)
    assert batch.gap.resumed_after == made[149] and ids(batch) == made[150:155]
    await life.close()


async def test_what_was_trimmed_does_not_come_back_with_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    log = SegmentLog(tmp_path, max_opened=200)
    bus = EmbeddedBus(log, clock, Settings(max_events=100))
    made = await published(bus, 150)
    await bus.close()
    await log.close()
    log = SegmentLog(tmp_path, max_opened=120)
    bus = EmbeddedBus(log, clock, Settings(max_events=100))
    assert (await bus.read("p", 0, 500)).entries[0].event_id == made[50]
    await bus.close()
    await log.close()
