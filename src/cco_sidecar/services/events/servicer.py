"""EventService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.schemas import EventSchemas
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.events import listing, publish, subscribe
from orchestra.v1 import event_service_pb2 as pb


class EventServicer:
    """Implements orchestra.v1.EventService. Errors are raised as SidecarError."""

    def __init__(self, bus: EventBus, schemas: EventSchemas, clock: Clock) -> None:
        self._bus = bus
        self._schemas = schemas
        self._clock = clock
        self._polls = subscribe.Polls(bus, clock)

    async def PublishEvent(self, request: pb.PublishEventRequest, principal: Principal) -> pb.PublishEventResponse:
        return await publish.publish_event(self._bus, self._schemas, request, principal)

    async def PublishEvents(
        self, requests: AsyncIterator[pb.PublishEventsRequest], principal: Principal
    ) -> AsyncIterator[pb.PublishEventsResponse]:
        # An idle publisher must not delay a shutdown.
        while (request := await self._bus.unless_draining(anext(requests, None))) is not None:
            yield await publish.publish_batch(self._bus, self._schemas, request, principal, self._clock)

    def Subscribe(self, request: pb.SubscribeRequest, principal: Principal) -> AsyncIterator[Encoded]:
        return subscribe.Subscribing(self._bus, request, principal)

    async def WaitEvents(self, request: pb.WaitEventsRequest, principal: Principal) -> Encoded:
        return await self._polls.wait(request, principal)

    async def GetEvent(self, request: pb.GetEventRequest, principal: Principal) -> Encoded:
        return await listing.get_event(self._bus, request)

    async def ListEvents(self, request: pb.ListEventsRequest, principal: Principal) -> Encoded:
        return await listing.list_events(self._bus, request, principal)
