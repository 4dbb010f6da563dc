"""Creates schedules."""

from __future__ import annotations

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.requests import event_of
from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.core import ids
from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError, invalid_event, invalid_request
from cco_sidecar.core.principal import Principal
from orchestra.v1.schedule_service_pb2 import CreateScheduleRequest, Schedule

_MAX_BYTES = 16 * 1024
_REFUSED = ("ttl_seconds", "priority", "idempotency_key", "expected_last_event_id")


async def schedule_of(
    bus: EventBus, schemas: EventSchemas, request: CreateScheduleRequest, principal: Principal, clock: Clock
) -> Schedule:
    """Returns the schedule that a request asks for. Raises SidecarError (REQ_001, EVT_002, EVT_005)."""
    given = [name for name in ("at", "after_seconds") if request.HasField(name)] + ["cron"] * bool(request.cron)
    if len(given) != 1:
        found = f"{' and '.join(given)} are given" if given else "none is given"
        raise invalid_request(f"exactly one of at, after_seconds and cron says when to publish; {found}", field="at")
    if request.timezone and not request.cron:
        raise invalid_request("timezone: it belongs to cron; 'at' has its own offset", field="timezone")
    for name in _REFUSED:
        if getattr(request.event, name):
            raise invalid_request(
                f"event.{name}: cannot be set for an event that is published later", field=f"event.{name}"
            )
    try:
        event = await event_of(bus, schemas, request.event, principal)
    except SidecarError as problem:
        raise problem.within("event") from problem
    if event.ByteSize() > _MAX_BYTES:
        raise invalid_event(
            f"the event has {event.ByteSize()} bytes; one that is published later may have {_MAX_BYTES}. "
            "Store large data as a result's artifact, and publish its id",
            field="event.data",
        )
    now = clock.micros()
    schedule = Schedule(
        schedule_id=request.schedule_id or ids.sortable("sch"),
        project_id=request.event.project_id,
        event=event,
        cron=request.cron,
        timezone=request.timezone,
        created_by=principal.subject,
        created_at=timestamp(now),
    )
    if request.HasField("at"):
        schedule.next_at.CopyFrom(timestamp(max(now, micros_of(request.at))))
    elif request.HasField("after_seconds"):
        schedule.next_at.CopyFrom(timestamp(now + int(request.after_seconds * 1_000_000)))
    return schedule
