"""JSON Schemas for the data of events, by project and event type."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus import quota
from cco_sidecar.bus.base import MAX_EVENT_BYTES
from cco_sidecar.bus.json_schema import InvalidSchemaError, JsonSchema, joined
from cco_sidecar.core import codec
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request, not_found
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.principal import OPERATOR
from cco_sidecar.storage.event_stores import SchemaStore
from orchestra.v1.schema_service_pb2 import EventSchema

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024
_FOLLOW_SECONDS = 1.0


class EventSchemas:
    """Not thread-safe."""

    def __init__(self, store: SchemaStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._schemas: dict[str, dict[str, EventSchema]] = defaultdict(dict)
        self._compiled: dict[tuple[str, str], JsonSchema] = {}
        self._changing = asyncio.Lock()
        self._background = Background()

    async def recover(self) -> None:
        """Loads what is stored. Raises SidecarError."""
        for schema in await self._store.all():
            try:
                self._keep(schema, _compiled(schema))
            except SidecarError as problem:
                log.error("a schema in project %s is not used: %s: %s", schema.project_id, schema.event_type, problem)

    async def follow(self) -> None:
        """Takes over what other sidecars change. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            try:
                await self._background.finish(self.refresh())
            except SidecarError as problem:
                log.warning("cannot read the schemas that another sidecar changed, retrying: %s", problem)

    async def refresh(self) -> None:
        """Reads what is stored again. Raises SidecarError."""
        async with self._changing:
            stored = {(each.project_id, each.event_type): each for each in await self._store.all()}
            for project, event_type in [key for key in self._compiled if key not in stored]:
                del self._schemas[project][event_type]
                del self._compiled[project, event_type]
            for (project, event_type), schema in stored.items():
                if self._schemas[project].get(event_type) != schema:
                    with suppress(SidecarError):
                        self._keep(schema, _compiled(schema))

    def of(self, project: str) -> list[EventSchema]:
        """Returns a project's schemas, sorted by event type."""
        known = self._schemas.get(project, {})
        return [known[event_type] for event_type in sorted(known)]

    def find(self, project: str, event_type: str) -> EventSchema:
        """Raises SidecarError (SCM_001) if there is none."""
        schema = self._schemas.get(project, {}).get(event_type)
        if schema is None:
            raise not_found(
                "SCM_001",
                f"event type '{event_type}' has no schema; list them with 'cco schemas list'",
                event_type=event_type,
            )
        return schema

    async def set(self, schema: EventSchema) -> None:
        """Sets a schema, and its time. Runs to completion even if the caller is cancelled. Raises SidecarError: REQ_001
        for an invalid schema, SCM_002 if there are too many."""
        if schema.ByteSize() > MAX_BYTES:
            raise invalid_request(f"schema: it has {schema.ByteSize()} bytes; {MAX_BYTES} are allowed", field="schema")
        await self._background.finish(self._set(schema, _compiled(schema)))

    async def _set(self, schema: EventSchema, compiled: JsonSchema) -> None:
        async with self._changing:
            known = self._schemas[schema.project_id]
            if schema.event_type not in known:
                quota.check([OPERATOR] * len(known), OPERATOR, "schemas", "SCM_002")
            schema.updated_at.CopyFrom(self._clock.timestamp())
            await self._store.put(schema)
            self._keep(schema, compiled)

    async def delete(self, project: str, event_type: str) -> None:
        """Runs to completion even if the caller is cancelled. Raises SidecarError (SCM_001)."""
        await self._background.finish(self._delete(project, event_type))

    async def _delete(self, project: str, event_type: str) -> None:
        async with self._changing:
            self.find(project, event_type)
            await self._store.delete(project, event_type)
            del self._schemas[project][event_type]
            del self._compiled[project, event_type]

    async def check(self, project: str, event_type: str, data: Struct) -> None:
        """Raises SidecarError (EVT_005) that names a field of ``data`` if it does not match the schema of the type."""
        schema = self._compiled.get((project, event_type))
        if schema is None:
            return
        size = data.ByteSize()
        # What is too large is refused as such.
        if size <= MAX_EVENT_BYTES:
            await beside_the_loop(_check, schema, event_type, data, size=size)

    def _keep(self, schema: EventSchema, compiled: JsonSchema) -> None:
        self._schemas[schema.project_id][schema.event_type] = schema
        self._compiled[schema.project_id, schema.event_type] = compiled


def _check(schema: JsonSchema, event_type: str, data: Struct) -> None:
    mismatch = schema.mismatch(codec.struct_to_dict(data))
    if mismatch is not None:
        field = joined("data", mismatch.path)
        text = f"{field}{mismatch.said} (schema of '{event_type}')"
        raise SidecarError(Kind.INVALID_REQUEST, "EVT_005", text, field=field)


def _compiled(schema: EventSchema) -> JsonSchema:
    """Raises SidecarError (REQ_001) that says what is wrong with a schema, and where."""
    try:
        return JsonSchema(codec.struct_to_dict(schema.schema))
    except InvalidSchemaError as problem:
        field = joined("schema", problem.path)
        raise invalid_request(f"{field}: {problem}", field=field) from problem
