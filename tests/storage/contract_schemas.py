"""The contract of a SchemaStore. See contract.py."""

from __future__ import annotations

from tests.storage.contract import OpenStores

from orchestra.v1.schema_service_pb2 import EventSchema


async def test_schemas_are_stored_replaced_and_deleted(open_stores: OpenStores) -> None:
    stores = await open_stores()
    first, second = (EventSchema(event_type="a", project_id=each) for each in "pq")
    for each in (first, second):
        await stores.schemas.put(each)
    changed = EventSchema(event_type="a", project_id="p")
    changed.schema["type"] = "object"
    await stores.schemas.put(changed)
    found = list(await (await open_stores()).schemas.all())
    assert sorted(found, key=lambda each: each.project_id) == [changed, second]
    await stores.schemas.delete("p", "a")
    assert list(await stores.schemas.all()) == [second]
