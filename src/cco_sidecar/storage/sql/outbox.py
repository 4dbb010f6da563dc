"""The outbox table: events stored with the change they announce, and still to be published."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.cluster import SqlCluster, alive
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import outbox
from orchestra.v1.event_service_pb2 import Event


class SqlOutbox:
    """Implements OutboxStore."""

    def __init__(self, database: Database, cluster: SqlCluster | None = None, sidecar_id: str = "") -> None:
        """``cluster``: the sidecars that share the database; None if there is one."""
        self._database = database
        self._cluster = cluster
        self._sidecar_id = sidecar_id

    async def pending(self, *, everyone: bool = False) -> Sequence[Announcement]:
        query = whole(outbox).order_by(outbox.c.number)
        if self._cluster is not None and not everyone:
            query = query.where(outbox.c.sidecar_id == self._sidecar_id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [Announcement(row.number, row.project_id, Event.FromString(row.event)) for row in rows]

    async def adopt(self) -> int:
        if self._cluster is None:
            return 0
        left = outbox.c.sidecar_id.not_in(alive())
        change = sa.update(outbox).where(left).values(sidecar_id=self._sidecar_id)
        return await self._cluster.led(lambda c: c.execute(change).rowcount)

    async def done(self, number: int) -> None:
        change = sa.delete(outbox).where(outbox.c.number == number)
        await self._database.write(lambda c: c.execute(change))


def enqueue(connection: sa.Connection, project: str, event: Event) -> Announcement:
    """Adds an event in the transaction of the change it announces."""
    whose = connection.get_execution_options()["sidecar_id"]
    insert = sa.insert(outbox).values(project_id=project, event=event.SerializeToString(), sidecar_id=whose)
    inserted = connection.execute(insert).inserted_primary_key
    assert inserted is not None
    return Announcement(int(inserted[0]), project, event)
