"""The schedules table."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.schema import schedules
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.schedule_service_pb2 import Schedule


class SqlSchedules:
    """Implements ScheduleStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, schedule: Schedule) -> None:
        body = schedule.SerializeToString()
        insert = self._database.insert(schedules).values(
            project_id=schedule.project_id, schedule_id=schedule.schedule_id, body=body
        )
        change = insert.on_conflict_do_update(index_elements=["project_id", "schedule_id"], set_={"body": body})
        await self._database.write(lambda c: c.execute(change))

    async def all(self) -> Sequence[Schedule]:
        bodies = await self._database.read(lambda c: c.execute(sa.select(schedules.c.body)).scalars().all())
        return [Schedule.FromString(body) for body in bodies]

    async def delete(self, project: str, schedule_id: str) -> None:
        change = sa.delete(schedules).where(_is(project, schedule_id))
        await self._database.write(lambda c: c.execute(change))

    async def publish(self, schedule: Schedule, event: Event, *, last: bool) -> Announcement | None:
        this = _is(schedule.project_id, schedule.schedule_id)
        update = sa.update(schedules).where(this).values(body=schedule.SerializeToString())

        def work(connection: sa.Connection) -> Announcement | None:
            if not connection.execute(sa.delete(schedules).where(this) if last else update).rowcount:
                return None
            return enqueue(connection, schedule.project_id, event)

        return await self._database.write(work)


def _is(project: str, schedule_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(schedules.c.project_id == project, schedules.c.schedule_id == schedule_id)
