"""The asynchronous client: schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cco_sidecar.client import requests
from cco_sidecar.client.aio_calls import AsyncCalls
from orchestra.v1 import schedule_service_pb2, schedule_service_pb2_grpc


class Schedules:
    """Events that are published later."""

    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = schedule_service_pb2_grpc.ScheduleServiceStub(client.channel)

    async def create(
        self,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        at: datetime | None = None,
        after_seconds: float | None = None,
        cron: str = "",
        timezone: str = "",
        schedule_id: str = "",
        **event: Any,
    ) -> schedule_service_pb2.Schedule:
        """Publishes an event at a time, after some seconds, or each time that a cron expression says.

        ``event`` are further arguments of ``events.publish``, such as ``topic``. An existing schedule with
        ``schedule_id`` is replaced.
        """
        request = schedule_service_pb2.CreateScheduleRequest(
            event=requests.publish(event_type, data, **event),
            at=requests.stamp(at),
            after_seconds=after_seconds,
            cron=cron,
            timezone=timezone,
            schedule_id=schedule_id,
        )
        return (await self._client.call(self._stub.CreateSchedule, request)).schedule

    async def get(self, schedule_id: str, *, project_id: str = "") -> schedule_service_pb2.Schedule:
        """Returns a schedule. Raises NotFoundError."""
        request = schedule_service_pb2.GetScheduleRequest(schedule_id=schedule_id, project_id=project_id)
        return (await self._client.call(self._stub.GetSchedule, request)).schedule

    async def list(self, *, project_id: str = "") -> Sequence[schedule_service_pb2.Schedule]:
        """Returns all schedules of the project, the next first."""
        request = schedule_service_pb2.ListSchedulesRequest(project_id=project_id)
        return (await self._client.call(self._stub.ListSchedules, request)).schedules

    async def delete(self, schedule_id: str, *, project_id: str = "") -> None:
        """Deletes a schedule. Raises NotFoundError."""
        request = schedule_service_pb2.DeleteScheduleRequest(schedule_id=schedule_id, project_id=project_id)
        await self._client.call(self._stub.DeleteSchedule, request)
