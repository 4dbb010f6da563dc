"""Publishing: who may say what, and what the answer holds."""

from __future__ import annotations

import asyncio
from typing import TypedDict

from cco_sidecar.auth.policy import project_of
from cco_sidecar.bus.bus import DEFAULT_TTL, EventBus
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import permission_denied
from cco_sidecar.core.principal import Principal
from orchestra.v1.event_service_pb2 import (
    PRIORITY_HIGH,
    Event,
    PublishEventRequest,
    PublishEventResponse,
    PublishEventsRequest,
    PublishEventsResponse,
)

DEFAULT_TOPIC = "coordination"


class _Options(TypedDict):
    ttl: int
    urgent: bool


async def publish_event(
    bus: EventBus, request: PublishEventRequest, principal: Principal, default_project: str
) -> PublishEventResponse:
    project, event, options = _prepare(request, principal, default_project)
    published = await bus.submit(project, event, **options)
    return PublishEventResponse(
        event_id=published.event.event_id,
        published=True,
        subscribers_notified=published.subscribers,
        subscriber_count=len(published.subscribers),
        timestamp=published.event.timestamp,
        topic=published.event.topic,
        ttl_seconds=_ttl(request),
    )


async def publish_batch(
    bus: EventBus, request: PublishEventsRequest, principal: Principal, default_project: str, clock: Clock
) -> PublishEventsResponse:
    """All in one group commit. Refused whole when one of them is not allowed."""
    prepared = [_prepare(event, principal, default_project) for event in request.events]
    for _, event, _ in prepared:
        bus.check_size(event)
    pending = [bus.submit(project, event, **options) for project, event, options in prepared]
    done = await asyncio.gather(*pending)
    return PublishEventsResponse(
        event_ids=[published.event.event_id for published in done], timestamp=clock.timestamp()
    )


def _prepare(request: PublishEventRequest, principal: Principal, default_project: str) -> tuple[str, Event, _Options]:
    """The project, the event and how it is published. Raises SidecarError when the caller may not."""
    event = Event(
        event_type=request.event_type,
        publisher=_publisher(request, principal),
        topic=request.topic or DEFAULT_TOPIC,
        data=request.data,
        correlation_id=request.correlation_id,
        publisher_agent_type=principal.agent_type,
        publisher_issue_id=principal.issue_id,
    )
    options = _Options(ttl=_ttl(request), urgent=request.priority == PRIORITY_HIGH)
    return project_of(principal, request.project_id, default_project), event, options


def _publisher(request: PublishEventRequest, principal: Principal) -> str:
    if not request.publisher or request.publisher == principal.subject or principal.operator:
        return request.publisher or principal.subject
    raise permission_denied(
        f"publisher must be the token's subject '{principal.subject}', not '{request.publisher}'",
        field="publisher",
    )


def _ttl(request: PublishEventRequest) -> int:
    return request.ttl_seconds if request.HasField("ttl_seconds") else DEFAULT_TTL
