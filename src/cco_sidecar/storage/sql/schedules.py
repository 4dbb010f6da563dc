"""The schedules table."""

from __future__ import annotations

import sqlalchemy as sa

from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sql.database import Connected
from cco_sidecar.storage.sql.keyed import KeyedMessages
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.schema import schedules
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.schedule_service_pb2 import Schedule


class SqlSchedules(KeyedMessages[Schedule]):
    """Implements ScheduleStore."""

    def __init__(self, database: Connected) -> None:
        super().__init__(database, schedules, "schedule_id", Schedule)

    async def publish(self, schedule: Schedule, event: Event, *, last: bool) -> Announcement | None:
        this = self._is(schedule.project_id, schedule.schedule_id)
        update = sa.update(schedules).where(this).values(body=schedule.SerializeToString())

        def work(connection: sa.Connection) -> Announcement | None:
            if not connection.execute(sa.delete(schedules).where(this) if last else update).rowcount:
                return None
            return enqueue(connection, schedule.project_id, event)

        return await self._database.write(work)
