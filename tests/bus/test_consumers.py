"""Durable consumers on the embedded bus and SQLite, with a clock that the tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.bus.contract import event
from tests.bus.test_embedded import ManualClock

from cco_sidecar.bus.base import FROM_OLDEST, Outgoing
from cco_sidecar.bus.consumers.consumer import Consumer
from cco_sidecar.bus.consumers.ledger import Holder, Item
from cco_sidecar.bus.consumers.registry import Consumers, no_longer_here
from cco_sidecar.bus.consumers.worker import Worker
from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.bus.quota import MAX_PER_AGENT
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1 import consumer_service_pb2 as pb

SECOND = 1_000_000
ANN, BOB = Holder("ann"), Holder("bob")


class World:
    """A bus with consumers that can be started again, as after a crash."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.database = Database(Sqlite(directory / "records.db"))
        self.stores = SqlStores(self.database)

    async def open(self, max_events: int = 1000) -> None:
        self.log = SegmentLog(self.directory)
        self.bus = EmbeddedBus(self.log, self.clock, Settings(max_events=max_events))
        self.consumers = Consumers(self.stores.consumers, self.bus, Outbox(self.stores.outbox, self.bus), self.clock)
        await self.consumers.recover()

    async def crash(self, max_events: int = 1000) -> None:
        """Keeps only what is on disk."""
        for consumer in self.consumers.of("p"):
            consumer.end(no_longer_here())
        await self.close()
        await self.open(max_events)

    async def close(self) -> None:
        await self.bus.close()
        await self.log.close()

    async def create(self, name: str = "c", by: str = "ann", since: str = FROM_OLDEST, **settings: Any) -> Consumer:
        made = pb.ConsumerSettings(shared=True, **settings)
        record = pb.Consumer(name=name, project_id="p", settings=made, created_by=by)
        return await self.consumers.create(record, since, None)

    @property
    def consumer(self) -> Consumer:
        return self.consumers.find("p", "c")

    async def publish(self, count: int = 1) -> list[str]:
        return [(await self.bus.publish(Outgoing("p", event("task", n=n)))).event_id for n in range(count)]

    async def pull(self, holder: Holder = ANN, limit: int = 10) -> list[Item]:
        worker = self.consumer.join(holder, limit)
        try:
            return (await worker.take(0.05))[0]
        finally:
            self.consumer.leave(worker, keep=True)

    def later(self, seconds: float) -> None:
        self.clock.ahead += int(seconds * SECOND)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.open()
    yield made
    await made.consumers.close()
    await made.close()
    made.database.close()


def ids(items: list[Item]) -> list[str]:
    return [item.entry.event_id for item in items]


async def test_an_acknowledgement_is_on_disk_when_it_is_answered(world: World) -> None:
    await world.create()
    first, second = await world.publish(2)
    taken = await world.pull()
    assert await world.consumer.acknowledge([taken[0].delivery_id], "ann") == []
    await world.crash()
    world.later(31)
    assert ids(await world.pull(BOB)) == [second] and first


async def test_an_acknowledgement_that_cannot_be_written_is_an_error_and_may_be_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create()
    await world.publish()
    (item,) = await world.pull()

    async def broken(change: object) -> Any:
        raise internal("STR_001", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(world.stores.consumers, "save", broken)
        with pytest.raises(SidecarError, match="the disk is full"):
            await world.consumer.acknowledge([item.delivery_id], "ann")
    assert await world.consumer.acknowledge([item.delivery_id], "ann") == []
    await world.crash()
    assert await world.pull() == []


async def test_a_late_acknowledgement_counts_until_the_event_is_delivered_again(world: World) -> None:
    await world.create(ack_wait_seconds=30)
    await world.publish(2)
    one, two = [item.delivery_id for item in await world.pull()]
    world.later(31)
    assert await world.consumer.acknowledge([one], "ann") == []
    (again,) = await world.pull()
    assert again.delivery_id != two
    assert await world.consumer.acknowledge([two], "ann") == [two]
    assert await world.consumer.acknowledge([again.delivery_id], "ann") == []


async def test_the_events_of_an_agent_that_ended_go_to_another_at_once(world: World) -> None:
    await world.create(ack_wait_seconds=3600)
    published = await world.publish(2)
    worker = world.consumer.join(BOB, 10)
    await worker.take(0.05)
    assert await world.pull() == []
    world.consumers.release("bob")
    world.consumer.leave(worker)
    assert ids(await world.pull()) == published


async def test_a_stream_that_ends_keeps_its_events_for_the_same_worker(world: World) -> None:
    await world.create()
    await world.publish(1)
    holder = Holder("ann", "process-1")
    broken = world.consumer.join(holder, 1)
    ((item,), _) = await broken.take(0.05)
    world.consumer.leave(broken)
    world.later(4)
    resumed = world.consumer.join(holder, 1)
    world.later(20)
    assert not resumed.has_capacity and await world.pull(BOB) == []
    assert await world.consumer.acknowledge([item.delivery_id], "ann") == []
    assert resumed.has_capacity
    world.consumer.leave(resumed)


async def test_after_five_seconds_they_go_to_another(world: World) -> None:
    await world.create()
    published = await world.publish(1)
    worker = world.consumer.join(Holder("ann", "process-1"), 1)
    await worker.take(0.05)
    world.consumer.leave(worker)
    world.later(4)
    assert await world.pull(BOB) == []
    world.later(2)
    assert ids(await world.pull(BOB)) == published


async def test_what_a_stream_never_took_is_not_counted_as_delivered(world: World) -> None:
    await world.create(max_deliveries=1)
    await world.publish(1)
    worker = world.consumer.join(ANN, 1)
    await _until_full(worker)
    world.consumer.leave(worker)
    (event_id,) = [entry.event_id for entry in (await world.bus.read("p", 0, 1)).entries]
    assert await world.consumer.acknowledge([f"{event_id}.0"], "ann") == [f"{event_id}.0"]
    (item,) = await world.pull(BOB)
    assert item.attempt == 1


async def _until_full(worker: Worker) -> None:
    while worker.has_capacity:
        await asyncio.sleep(0)


async def test_workers_take_turns(world: World) -> None:
    await world.create()
    workers = [world.consumer.join(holder, 10) for holder in (ANN, BOB)]
    await world.publish(6)
    shares = []
    for worker in workers:
        taken: list[Item] = []
        while len(taken) < 3:
            taken += (await worker.take(1))[0]
        shares.append(len(taken))
        world.consumer.leave(worker)
    assert shares == [3, 3]


async def test_what_was_rejected_is_no_longer_its_holders(world: World) -> None:
    await world.create(retry_seconds=10)
    await world.publish(1)
    (item,) = await world.pull()
    delivery_id = item.delivery_id
    assert await world.consumer.reject([delivery_id], "ann", "no", None, final=False) == []
    assert world.consumer.extend([delivery_id], "ann") == [delivery_id]
    assert await world.consumer.acknowledge([delivery_id], "ann") == [delivery_id]
    assert not item.held


async def test_the_pause_before_a_rejected_event_doubles(world: World) -> None:
    await world.create(retry_seconds=10)
    await world.publish(1)
    for pause in (10, 20, 40):
        (item,) = await world.pull()
        await world.consumer.reject([item.delivery_id], "ann", "", None, final=False)
        world.later(pause - 1)
        assert await world.pull() == []
        world.later(1.1)
    assert len(await world.pull()) == 1


async def test_with_one_in_flight_events_are_handled_in_order(world: World) -> None:
    await world.create(max_in_flight=1, retry_seconds=10)
    first, second = await world.publish(2)
    (item,) = await world.pull()
    await world.consumer.reject([item.delivery_id], "ann", "", None, final=False)
    assert await world.pull() == []
    world.later(11)
    (item,) = await world.pull()
    assert item.entry.event_id == first
    await world.consumer.acknowledge([item.delivery_id], "ann")
    assert ids(await world.pull()) == [second]


async def test_large_events_in_flight_are_limited_by_their_size(world: World) -> None:
    await world.create(max_in_flight=1000)
    for _ in range(30):
        await world.bus.publish(Outgoing("p", event("task", text="x" * 200_000)))
    taken: list[Item] = []
    while more := await world.pull(limit=100):
        taken += more
    assert len(taken) == 21
    await world.consumer.acknowledge([taken[0].delivery_id], "ann")
    assert len(await world.pull(limit=100)) == 1


async def test_events_in_flight_that_are_no_longer_retained_are_declared(world: World) -> None:
    await world.create()
    await world.publish(3)
    taken = await world.pull()
    await world.consumer.acknowledge([taken[0].delivery_id], "ann")
    await world.publish(100)
    await world.crash(max_events=10)
    worker = world.consumer.join(ANN, 1)
    _, gap = await worker.take(1)
    world.consumer.leave(worker)
    assert gap is not None and gap.missed >= 2


async def test_a_consumer_is_not_told_of_its_own_dead_letters(world: World) -> None:
    await world.create(max_deliveries=1)
    await world.publish(1)
    (item,) = await world.pull()
    await world.consumer.reject([item.delivery_id], "ann", "no", None, final=False)
    assert (await world.bus.read("p", 0, 10)).entries[-1].event_type == "dead_lettered"
    assert await world.pull() == []


async def test_an_unused_consumer_is_deleted_unless_it_has_dead_letters(world: World) -> None:
    await world.create(unused_seconds=60, max_deliveries=1)
    await world.create("kept", unused_seconds=3600)
    await world.publish(1)
    (item,) = await world.pull()
    await world.consumer.reject([item.delivery_id], "ann", "no", None, final=True)
    world.later(120)
    await world.consumers.sweep()
    assert len(world.consumers.of("p")) == 2
    (letter,) = await world.stores.consumers.letters("p", "c", [])
    await world.stores.consumers.delete_letter("p", letter.dead_letter_id)
    await world.consumers.sweep()
    assert [each.record.name for each in world.consumers.of("p")] == ["kept"]


async def test_an_agent_has_a_limited_number_of_consumers(world: World) -> None:
    for number in range(MAX_PER_AGENT):
        await world.create(f"c{number}")
    with pytest.raises(SidecarError, match=f"ann has {MAX_PER_AGENT} consumers") as problem:
        await world.create("one-too-many")
    assert problem.value.code == "CSM_003"
    await world.create("c0")
    await world.create("of-bob", by="bob")


@pytest.mark.parametrize("settings", [{"filter": "a=="}, {"max_deliveries": 3}])
async def test_other_settings_are_refused(world: World, settings: dict[str, Any]) -> None:
    await world.create()
    with pytest.raises(SidecarError) as problem:
        await world.create(**settings)
    assert problem.value.code == ("EVT_002" if "filter" in settings else "CSM_002")


async def test_a_consumer_begins_where_it_is_told(world: World) -> None:
    first, second = await world.publish(2)
    await world.create("new", since="")
    await world.create("after-first", since=first)
    assert world.consumers.find("p", "new").record.cursor == second
    assert world.consumers.find("p", "after-first").record.cursor == first
    assert await world.consumers.lag(world.consumers.find("p", "after-first")) == 1


@pytest.mark.parametrize("late", ["acknowledge", "reject", "unknown"])
async def test_what_comes_late_after_a_reset_changes_nothing(world: World, late: str) -> None:
    await world.create()
    published = await world.publish(3)
    taken = await world.pull(limit=2)
    held = taken[0].delivery_id if late != "unknown" else f"{published[0]}.7"
    await world.consumer.reset("0")
    if late == "reject":
        assert await world.consumer.reject([held], "ann", "", None, final=False) == [held]
    else:
        assert await world.consumer.acknowledge([held], "ann") == [held]
    assert ids(await world.pull(BOB)) == published


async def test_a_settled_delivery_is_forgotten_by_a_reset(world: World) -> None:
    await world.create(ack_wait_seconds=30)
    await world.publish()
    (item,) = await world.pull()
    first = item.delivery_id
    assert await world.consumer.acknowledge([first], "ann") == []
    await world.consumer.reset("0")
    for _ in range(2):
        (item,) = await world.pull()
        world.later(31)
    # The id of the first delivery after the reset, too.
    assert item.delivery_id != first
    assert await world.consumer.acknowledge([first], "ann") == [first]


async def test_a_batch_may_be_empty(world: World) -> None:
    assert await world.bus.publish_all([]) == []
