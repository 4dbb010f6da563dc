"""ScheduleService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from functools import partial

from cco_sidecar.auth.scope import require_creator
from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.schedules import Schedules, unknown_schedule
from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.schedules.create import schedule_of
from orchestra.v1 import schedule_service_pb2 as pb


class ScheduleServicer:
    """Implements orchestra.v1.ScheduleService. Errors are raised as SidecarError."""

    def __init__(self, schedules: Schedules, bus: EventBus, schemas: EventSchemas, clock: Clock) -> None:
        self._bus = bus
        self._schedules = schedules
        self._schemas = schemas
        self._clock = clock

    async def CreateSchedule(
        self, request: pb.CreateScheduleRequest, principal: Principal
    ) -> pb.CreateScheduleResponse:
        schedule = await schedule_of(self._bus, self._schemas, request, principal, self._clock)
        await self._schedules.put(schedule, partial(_require_change, principal))
        return pb.CreateScheduleResponse(schedule=schedule)

    async def GetSchedule(self, request: pb.GetScheduleRequest, principal: Principal) -> pb.GetScheduleResponse:
        return pb.GetScheduleResponse(schedule=self._find(request.project_id, request.schedule_id))

    async def ListSchedules(self, request: pb.ListSchedulesRequest, principal: Principal) -> pb.ListSchedulesResponse:
        return pb.ListSchedulesResponse(schedules=map(_without_data, self._schedules.of(request.project_id)))

    async def DeleteSchedule(
        self, request: pb.DeleteScheduleRequest, principal: Principal
    ) -> pb.DeleteScheduleResponse:
        may_delete = partial(_require_change, principal)
        await self._schedules.delete(request.project_id, request.schedule_id, may_delete)
        return pb.DeleteScheduleResponse(schedule_id=request.schedule_id)

    def _find(self, project: str, schedule_id: str) -> pb.Schedule:
        schedule = self._schedules.find(project, schedule_id)
        if schedule is None:
            raise unknown_schedule(schedule_id)
        return schedule


def _without_data(schedule: pb.Schedule) -> pb.Schedule:
    shown = pb.Schedule()
    shown.CopyFrom(schedule)
    shown.event.ClearField("data")
    return shown


def _require_change(principal: Principal, schedule: pb.Schedule) -> None:
    """Raises SidecarError (AUTH_003) if the caller may not delete or replace a schedule."""
    require_creator(principal, schedule.created_by, f"schedule '{schedule.schedule_id}'")
