"""The event_schemas table."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import event_schemas
from orchestra.v1.schema_service_pb2 import EventSchema


class SqlSchemas:
    """Implements SchemaStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, schema: EventSchema) -> None:
        body = schema.SerializeToString()
        insert = self._database.insert(event_schemas).values(
            project_id=schema.project_id, event_type=schema.event_type, body=body
        )
        change = insert.on_conflict_do_update(index_elements=["project_id", "event_type"], set_={"body": body})
        await self._database.write(lambda c: c.execute(change))

    async def all(self) -> Sequence[EventSchema]:
        bodies = await self._database.read(lambda c: c.execute(sa.select(event_schemas.c.body)).scalars().all())
        return [EventSchema.FromString(body) for body in bodies]

    async def delete(self, project: str, event_type: str) -> None:
        change = sa.delete(event_schemas).where(
            event_schemas.c.project_id == project, event_schemas.c.event_type == event_type
        )
        await self._database.write(lambda c: c.execute(change))
