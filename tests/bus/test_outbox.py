"""The outbox publishes every announcement once and in order, whatever the bus and the disk do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cco_sidecar.bus.base import Outgoing, Published
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import retry
from cco_sidecar.core.announcements import of_agent
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sql.agents import SqlAgents
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.outbox import SqlOutbox
from cco_sidecar.storage.sql.sqlite import Sqlite
from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest
from orchestra.v1.event_service_pb2 import Event


class FakeBus:
    """Accepts events while it is ``open``."""

    def __init__(self) -> None:
        self.open = True
        # A refusal takes until ``refuse`` is set, as a disk takes its time.
        self.refusing, self.refuse = asyncio.Event(), asyncio.Event()
        self.refuse.set()
        self.taken: list[Event] = []

    async def publish(self, project: str, event: Event) -> Published:
        return (await self.publish_all([Outgoing(project, event)]))[0]

    async def publish_all(self, outgoing: Sequence[Outgoing]) -> list[Published]:
        if not self.open:
            self.refusing.set()
            await self.refuse.wait()
            raise SidecarError(Kind.UNAVAILABLE, "EVT_001", "no space")
        first = len(self.taken) + 1
        self.taken += [each.event for each in outgoing]
        return [Published(f"evt-{first + n}", each.event.timestamp, []) for n, each in enumerate(outgoing)]

    async def is_published(self, project: str, event: Event) -> bool:
        return event in self.taken


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(Sqlite(tmp_path / "records.db"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_MAX_SECONDS", 0.001)


async def announced(database: Database, *attempts: int) -> list[Announcement]:
    store = SqlAgents(database)
    agent = Agent(agent_id="again", project_id="p")
    await store.add(agent, SpawnAgentRequest(), created=1)
    found = []
    for attempt in attempts:
        agent.attempt = attempt
        announcement = await store.save(agent, of_agent(agent, "agent_spawned"))
        assert announcement is not None
        found.append(announcement)
    return found


def correlations(bus: FakeBus) -> list[str]:
    return [event.correlation_id for event in bus.taken]


async def test_published_entries_are_removed(database: Database) -> None:
    bus: Any = FakeBus()
    outbox = Outbox(SqlOutbox(database), bus)
    (one,) = await announced(database, 1)
    assert await outbox.pending() == [one]
    assert await outbox.publish(one) == "evt-1"
    await outbox.close()
    assert await outbox.pending() == [] and correlations(bus) == ["again/1"]


async def test_failed_entries_are_retried_in_order(database: Database) -> None:
    bus: Any = FakeBus()
    outbox = Outbox(SqlOutbox(database), bus)
    bus.open = False
    one, two, three = await announced(database, 1, 2, 3)
    assert [await outbox.publish(one), await outbox.publish(two)] == ["", ""]
    assert outbox.waiting == 2
    bus.open = True
    # Not ahead of the entries that are waiting.
    assert await outbox.publish(three) == ""
    while outbox.waiting:
        await SqlOutbox(database).pending()
    await outbox.close()
    assert correlations(bus) == ["again/1", "again/2", "again/3"]
    assert await outbox.pending() == []


@pytest.mark.parametrize("kind", [Kind.INVALID_REQUEST, Kind.CONFLICT])
async def test_one_that_is_refused_for_good_does_not_hold_up_others(database: Database, kind: Kind) -> None:
    bus: Any = FakeBus()
    outbox = Outbox(SqlOutbox(database), bus)
    real = bus.publish_all

    async def refusing(outgoing: Sequence[Outgoing]) -> list[Published]:
        if any(each.event.correlation_id == "again/2" for each in outgoing):
            raise SidecarError(kind, "EVT_003", "never")
        published: list[Published] = await real(outgoing)
        return published

    bus.publish_all = refusing
    three = await announced(database, 1, 2, 3)
    await asyncio.gather(*map(outbox.publish, three))
    await outbox.close()
    assert correlations(bus) == ["again/1", "again/3"] and await outbox.pending() == []


async def test_a_concurrent_change_does_not_overtake_one_that_fails(database: Database) -> None:
    bus: Any = FakeBus()
    outbox = Outbox(SqlOutbox(database), bus)
    one, two = await announced(database, 1, 2)
    bus.open = False
    bus.refuse.clear()
    first = asyncio.create_task(outbox.publish(one))
    await bus.refusing.wait()
    # The first is on its way to the log, and will fail, although the disk is free again.
    bus.open = True
    second = asyncio.create_task(outbox.publish(two))
    for _ in range(10):
        await asyncio.sleep(0)
    bus.refuse.set()
    assert await asyncio.gather(first, second) == ["", ""]
    while outbox.waiting:
        await asyncio.sleep(0)
    await outbox.close()
    assert correlations(bus) == ["again/1", "again/2"] and await outbox.pending() == []


async def test_concurrent_changes_share_a_batch(database: Database) -> None:
    bus: Any = FakeBus()
    outbox = Outbox(SqlOutbox(database), bus)
    announcements = await announced(database, *range(1, 21))
    found = await asyncio.gather(*map(outbox.publish, announcements))
    await outbox.close()
    assert found == [f"evt-{number}" for number in range(1, 21)]
    assert correlations(bus) == [f"again/{number}" for number in range(1, 21)] and await outbox.pending() == []


async def test_a_crash_after_the_change_publishes_at_the_next_start(database: Database) -> None:
    await announced(database, 1, 2)
    bus: Any = FakeBus()
    after = Outbox(SqlOutbox(database), bus)
    await after.recover()
    await after.close()
    assert correlations(bus) == ["again/1", "again/2"] and await after.pending() == []


async def test_a_crash_after_the_event_does_not_publish_it_again(database: Database) -> None:
    bus: Any = FakeBus()
    one, two = await announced(database, 1, 2)
    await bus.publish("p", one.event)
    after = Outbox(SqlOutbox(database), bus)
    await after.recover()
    await after.close()
    assert correlations(bus) == ["again/1", "again/2"] and await after.pending() == []
    assert two.event in bus.taken


async def test_held_entries_stay_until_they_are_released(database: Database) -> None:
    bus: Any = FakeBus()
    outbox = Outbox(SqlOutbox(database), bus)
    (one,) = await announced(database, 1)
    outbox.hold(one)
    assert await outbox.publish(one) == "evt-1" and outbox.waiting == 1
    # After a crash it is found again, and not published a second time.
    after = Outbox(SqlOutbox(database), bus)
    after.hold(one)
    await after.recover()
    assert await after.pending() == [one] and len(bus.taken) == 1
    await outbox.release(one)
    assert await outbox.pending() == [] and outbox.waiting == 0
