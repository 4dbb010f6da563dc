"""Schedules on the embedded bus and SQLite, with a clock that the tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.bus.test_embedded import ManualClock

from cco_sidecar.bus.base import Outgoing
from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.bus.quota import MAX_PER_AGENT
from cco_sidecar.bus.schedules import Schedules, next_run
from cco_sidecar.core.clock import micros_of, timestamp
from cco_sidecar.core.errors import SidecarError, internal, permission_denied
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.schedule_service_pb2 import Schedule

DAY = 86_400 * 1_000_000


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.database = Database(Sqlite(directory / "records.db"))
        self.stores = SqlStores(self.database)

    async def open(self) -> None:
        self.log = SegmentLog(self.directory)
        self.bus = EmbeddedBus(self.log, self.clock, Settings())
        self.outbox = Outbox(self.stores.outbox, self.bus)
        self.schedules = Schedules(self.stores.schedules, self.outbox, self.clock)
        await self.schedules.recover()
        await self.outbox.recover()

    async def close(self) -> None:
        await self.outbox.close()
        await self.bus.close()
        await self.log.close()

    async def put(self, schedule_id: str = "s", seconds: float = 60, by: str = "ann", **more: Any) -> None:
        event = Event(event_type="due", publisher=by, topic="t")
        at = timestamp(self.clock.micros() + int(seconds * 1_000_000))
        await self.schedules.put(
            Schedule(schedule_id=schedule_id, project_id="p", event=event, next_at=at, created_by=by, **more)
        )

    async def published(self) -> list[str]:
        await self.schedules.publish_due()
        return [entry.event_type for entry in (await self.bus.read("p", 0, 100)).entries]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.open()
    yield made
    await made.close()
    made.database.close()


async def test_an_event_is_published_when_it_is_due_and_once(world: World) -> None:
    await world.put(seconds=60)
    world.clock.ahead += 59 * 1_000_000
    assert await world.published() == []
    world.clock.ahead += 2 * 1_000_000
    assert await world.published() == ["due"]
    assert await world.published() == ["due"] and world.schedules.of("p") == []


async def test_what_was_missed_is_made_up_for_once(world: World) -> None:
    await world.put(cron="0 * * * *")
    await world.close()
    world.clock.ahead += 3 * DAY
    await world.open()
    assert await world.published() == ["due"]
    (schedule,) = world.schedules.of("p")
    assert schedule.published == 1 and schedule.next_at.seconds % 3600 == 0
    world.clock.ahead += 3601 * 1_000_000
    assert await world.published() == ["due", "due"]


async def test_a_crash_after_the_transaction_publishes_the_run_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outbox has a row of an event that looks like the one of the run before."""
    await world.put(cron="0 * * * *")
    world.clock.ahead += DAY // 24
    assert await world.published() == ["due"]
    world.clock.ahead += DAY // 24

    async def lost(announcement: object) -> str:
        return ""

    monkeypatch.setattr(world.outbox, "publish", lost)
    assert await world.published() == ["due"]
    await world.close()
    await world.open()
    assert await world.published() == ["due", "due"]


async def test_a_run_that_cannot_be_stored_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put(seconds=0)

    async def broken(*_: object, **__: object) -> None:
        raise internal("STR_001", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(world.stores.schedules, "publish", broken)
        with pytest.raises(SidecarError):
            await world.schedules.publish_due()
    assert await world.published() == ["due"]


async def test_a_schedule_is_replaced_and_deleted(world: World) -> None:
    await world.put(seconds=60)
    await world.put(seconds=3600)
    world.clock.ahead += 61 * 1_000_000
    assert await world.published() == []
    await world.schedules.delete("p", "s")
    world.clock.ahead += DAY
    assert await world.published() == []


async def test_an_agent_has_a_limited_number_of_schedules(world: World) -> None:
    for number in range(MAX_PER_AGENT):
        await world.put(f"s{number}")
    with pytest.raises(SidecarError, match=f"ann has {MAX_PER_AGENT} schedules") as problem:
        await world.put("one-too-many")
    assert problem.value.code == "SCH_002"
    await world.put("s0", seconds=1)
    await world.put("of-bob", by="bob")


@pytest.mark.parametrize(
    ("after", "cron", "zone", "expected"),
    [
        ("2026-11-27T08:00:00", "0 9 * * mon-fri", "", "2026-11-27T09:00:00"),
        ("2026-11-27T09:00:00", "0 9 * * mon-fri", "", "2026-11-30T09:00:00"),
        ("2026-11-27T08:00:00", "0 9 * * *", "America/New_York", "2026-11-27T14:00:00"),
        # Clocks go forward at 01:00 UTC: 02:30 does not exist, and runs at once after the gap.
        ("2026-03-29T00:00:00", "30 2 * * *", "Europe/Warsaw", "2026-03-29T01:00:00"),
        # They go back at 01:00 UTC: 02:30 is there twice, and runs once.
        ("2026-10-25T00:35:00", "30 2 * * *", "Europe/Warsaw", "2026-10-26T01:30:00"),
    ],
)
def test_cron_expressions(after: str, cron: str, zone: str, expected: str) -> None:
    micros = int(datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()) * 1_000_000
    found = next_run(Schedule(cron=cron, timezone=zone), micros)
    assert datetime.fromtimestamp(found / 1e6, UTC).replace(tzinfo=None).isoformat() == expected


@pytest.mark.parametrize(
    ("cron", "zone", "field"),
    [("every day", "", "cron"), ("0 0 30 2 *", "", "cron"), ("0 9 * * *", "Mars/Olympus", "timezone"),
     ("0 9 * * *", "../etc/passwd", "timezone"), ("* * * * * *", "", "cron")],
)  # fmt: skip
def test_what_is_wrong_is_named(cron: str, zone: str, field: str) -> None:
    with pytest.raises(SidecarError) as problem:
        next_run(Schedule(cron=cron, timezone=zone), 0)
    assert problem.value.field == field


async def test_no_caller_can_take_the_key_of_a_run(world: World) -> None:
    """The run would be refused as another event with the same key, and hold up all announcements."""
    await world.put("s", seconds=60)
    (schedule,) = world.schedules.of("p")
    for key in (f"s/{micros_of(schedule.next_at)}", "s"):
        event = Event(event_type="taken", publisher="ann", topic="t", idempotency_key=key)
        await world.bus.publish(Outgoing("p", event))
    world.clock.ahead += 61 * 1_000_000
    assert await world.published() == ["taken", "taken", "due"]
    assert world.outbox.waiting == 0


async def test_a_schedule_whose_time_zone_is_gone_does_not_hold_up_others(world: World) -> None:
    await world.put("bad", cron="0 * * * *", timezone="Europe/Warsaw")
    world.schedules.of("p")[0].timezone = "Gone/Nowhere"
    await world.put("good", seconds=7200)
    world.clock.ahead += DAY
    for _ in range(2):
        assert await world.published() == ["due"]
    await world.put("bad", seconds=0)
    assert await world.published() == ["due", "due"]


async def test_two_that_create_one_id_at_a_time_are_both_asked(world: World) -> None:
    def refuse(schedule: Schedule) -> None:
        raise permission_denied(f"it belongs to {schedule.created_by}")

    at = timestamp(world.clock.micros() + DAY)
    made = [
        Schedule(schedule_id="s", project_id="p", event=Event(event_type="due"), next_at=at, created_by=each)
        for each in ("ann", "bob")
    ]
    outcomes = await asyncio.gather(*(world.schedules.put(each, refuse) for each in made), return_exceptions=True)
    assert outcomes[0] is None and isinstance(outcomes[1], SidecarError)
    with pytest.raises(SidecarError, match="belongs to ann"):
        await world.schedules.delete("p", "s", refuse)
    assert world.schedules.of("p")[0].created_by == "ann"
