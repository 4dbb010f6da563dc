"""Publishes events, singly or in batches."""

from __future__ import annotations

from cco_sidecar.bus.base import DEFAULT_TTL, EventBus, Outgoing
from cco_sidecar.bus.requests import event_of
from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import Principal
from orchestra.v1.event_service_pb2 import (
    PRIORITY_HIGH,
    PublishEventRequest,
    PublishEventResponse,
    PublishEventsRequest,
    PublishEventsResponse,
)


async def publish_event(
    bus: EventBus, schemas: EventSchemas, request: PublishEventRequest, principal: Principal
) -> PublishEventResponse:
    """Publishes one event and returns who was notified. Raises SidecarError."""
    outgoing = await _outgoing(bus, schemas, request, principal)
    published = await bus.publish(outgoing)
    response = PublishEventResponse(
        event_id=published.event_id,
        published=True,
        subscribers_notified=published.subscribers,
        subscriber_count=len(published.subscribers),
        timestamp=published.timestamp,
        topic=outgoing.event.topic,
        ttl_seconds=outgoing.ttl,
    )
    if published.duplicate:
        response.duplicate = True
    return response


async def publish_batch(
    bus: EventBus, schemas: EventSchemas, request: PublishEventsRequest, principal: Principal, clock: Clock
) -> PublishEventsResponse:
    """Publishes all events in one commit. The whole batch is rejected if one of them is not allowed. Raises
    SidecarError."""
    outgoing = []
    for number, event in enumerate(request.events):
        try:
            outgoing.append(await _outgoing(bus, schemas, event, principal))
        except SidecarError as problem:
            raise problem.within(f"events[{number}]") from problem
    published = await bus.publish_all(outgoing)
    return PublishEventsResponse(event_ids=[each.event_id for each in published], timestamp=clock.timestamp())


async def _outgoing(
    bus: EventBus, schemas: EventSchemas, request: PublishEventRequest, principal: Principal
) -> Outgoing:
    event = await event_of(bus, schemas, request, principal)
    ttl = request.ttl_seconds if request.HasField("ttl_seconds") else DEFAULT_TTL
    urgent = request.priority == PRIORITY_HIGH
    return Outgoing(request.project_id, event, ttl, urgent, request.expected_last_event_id)
