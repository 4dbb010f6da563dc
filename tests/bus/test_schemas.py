"""The schemas of a project: how many there may be, and one that a later version cannot use."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus import quota
from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from orchestra.v1.schema_service_pb2 import EventSchema


def schema(event_type: str, **keywords: object) -> EventSchema:
    made = EventSchema(event_type=event_type, project_id="p")
    made.schema.update(keywords)
    return made


class Store:
    def __init__(self, *stored: EventSchema) -> None:
        self.stored = {each.event_type: each for each in stored}

    async def put(self, schema: EventSchema) -> None:
        self.stored[schema.event_type] = schema

    async def all(self) -> Sequence[EventSchema]:
        return list(self.stored.values())

    async def delete(self, project: str, event_type: str) -> None:
        del self.stored[event_type]


async def test_a_project_has_a_limited_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MAX_PER_PROJECT", 2)
    schemas = EventSchemas(Store(), Clock())
    for event_type in ("a", "b", "b"):
        await schemas.set(schema(event_type))
    with pytest.raises(SidecarError, match="the project has 2 schemas") as refused:
        await schemas.set(schema("c"))
    assert refused.value.code == "SCM_002"


async def test_one_that_cannot_be_used_does_not_stop_the_start() -> None:
    schemas = EventSchemas(Store(schema("bad", type="no such"), schema("good", required=["n"])), Clock())
    await schemas.recover()
    await schemas.check("p", "bad", Struct())
    with pytest.raises(SidecarError, match=r"data\.n is required"):
        await schemas.check("p", "good", Struct())
