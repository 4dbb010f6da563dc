"""The event that a request asks to publish, now or later."""

from __future__ import annotations

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.journal import is_event_id
from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.core import tracing
from cco_sidecar.core.errors import invalid_event
from cco_sidecar.core.principal import Principal
from cco_sidecar.core.tracing import TraceContext
from orchestra.v1.event_service_pb2 import Event, PublishEventRequest

DEFAULT_TOPIC = "coordination"
_OPTIONAL = ("causation_id", "state_key", "traceparent", "tracestate")


async def event_of(bus: EventBus, schemas: EventSchemas, request: PublishEventRequest, principal: Principal) -> Event:
    """Returns the event, without id and time. Raises SidecarError: EVT_002, and EVT_005 if its data does not match the
    schema of its type."""
    await schemas.check(request.project_id, request.event_type, request.data)
    event = Event(
        event_type=request.event_type,
        publisher=request.publisher,
        topic=request.topic or DEFAULT_TOPIC,
        data=request.data,
        correlation_id=request.correlation_id,
        publisher_agent_type=principal.agent_type,
        publisher_issue_id=principal.issue_id,
        idempotency_key=request.idempotency_key,
    )
    for name in _OPTIONAL:
        if value := getattr(request, name):
            setattr(event, name, value)
    if request.HasField("cloud_event"):
        event.cloud_event.CopyFrom(request.cloud_event)
    if request.traceparent:
        _check_traceparent(request.traceparent)
    tracing.stamp(event)
    if request.causation_id and not request.correlation_id:
        event.correlation_id = await _correlation_of(bus, request.project_id, request.causation_id)
    return event


async def _correlation_of(bus: EventBus, project: str, event_id: str) -> str:
    """Returns what links an event to those that it causes: its own correlation id, or its id."""
    cause = await bus.find(project, event_id) if is_event_id(event_id) else None
    return cause.correlation_id if cause is not None and cause.correlation_id else event_id


def _check_traceparent(text: str) -> None:
    if TraceContext.parse(text) is None:
        raise invalid_event(
            f"traceparent: {text!r} is not a W3C trace context such as "
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            field="traceparent",
        )
