"""The contract of a ScheduleStore. See contract.py."""

from __future__ import annotations

from tests.storage.contract import OpenStores

from cco_sidecar.storage.base import Stores
from orchestra.v1 import event_service_pb2 as event_pb
from orchestra.v1 import schedule_service_pb2 as pb


def schedule(schedule_id: str = "s", project: str = "p", **more: object) -> pb.Schedule:
    return pb.Schedule(schedule_id=schedule_id, project_id=project, **more)  # type: ignore[arg-type]


async def test_schedules_are_stored_replaced_and_deleted(open_stores: OpenStores) -> None:
    stores = await open_stores()
    await stores.schedules.put(schedule())
    await stores.schedules.put(schedule(project="q"))
    await stores.schedules.put(schedule(cron="* * * * *"))
    found = list(await (await open_stores()).schedules.all())
    assert sorted(found, key=lambda each: each.project_id) == [schedule(cron="* * * * *"), schedule(project="q")]
    await stores.schedules.delete("p", "s")
    assert list(await stores.schedules.all()) == [schedule(project="q")]


async def test_a_run_is_stored_with_its_event(stores: Stores) -> None:
    await stores.schedules.put(schedule())
    event = event_pb.Event(event_type="due")
    announced = await stores.schedules.publish(schedule(published=1), event, last=False)
    assert announced is not None and list(await stores.outbox.pending()) == [announced]
    assert list(await stores.schedules.all()) == [schedule(published=1)]
    last = await stores.schedules.publish(schedule(published=2), event, last=True)
    assert list(await stores.schedules.all()) == [] and list(await stores.outbox.pending()) == [announced, last]
    assert await stores.schedules.publish(schedule(), event, last=False) is None
    for each in await stores.outbox.pending():
        await stores.outbox.done(each.number)
