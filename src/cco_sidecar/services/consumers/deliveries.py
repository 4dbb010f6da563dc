"""Takes deliveries, as a stream or a pull, and settles them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.consumer import Consumer
from cco_sidecar.bus.consumers.ledger import Holder, Item
from cco_sidecar.bus.delivery import HEARTBEAT_SECONDS
from cco_sidecar.core.clock import timestamp
from cco_sidecar.core.encoded import Encoded, framed
from cco_sidecar.core.principal import Principal
from orchestra.v1 import consumer_service_pb2 as pb
from orchestra.v1.event_service_pb2 import Gap

DEFAULT_LIMIT = 10
DEFAULT_TIMEOUT_MS = 30_000
_DELIVERIES = pb.ConsumeResponse.DELIVERIES_FIELD_NUMBER


async def consume(
    bus: EventBus, consumer: Consumer, request: pb.ConsumeRequest, principal: Principal
) -> AsyncIterator[Encoded]:
    """Yields deliveries until the bus drains. The first message is empty. Raises SidecarError (CSM_001) if the consumer
    is deleted."""
    capacity = request.max_in_flight if request.HasField("max_in_flight") else DEFAULT_LIMIT
    worker = consumer.join(Holder(principal.subject, request.worker), capacity)
    try:
        yield _response(pb.ConsumeResponse, [], None)
        while (taken := await bus.unless_draining(worker.take(HEARTBEAT_SECONDS))) is not None:
            yield _response(pb.ConsumeResponse, *taken)
    finally:
        consumer.leave(worker)


async def pull(bus: EventBus, consumer: Consumer, request: pb.PullEventsRequest, principal: Principal) -> Encoded:
    """Returns the next deliveries, or none after the request's timeout. Raises SidecarError."""
    capacity = request.limit if request.HasField("limit") else DEFAULT_LIMIT
    timeout = (request.timeout if request.HasField("timeout") else DEFAULT_TIMEOUT_MS) / 1000
    worker = consumer.join(Holder(principal.subject), capacity)
    try:
        taken = await bus.unless_draining(worker.take(timeout))
    finally:
        consumer.leave(worker, keep=True)
    return _response(pb.PullEventsResponse, *(taken or ([], None)))


def _response(
    message_type: type[pb.ConsumeResponse | pb.PullEventsResponse], items: Sequence[Item], gap: Gap | None
) -> Encoded:
    """Builds a response from the events' own bytes: an entry's frame is field 1 of a Delivery, too."""
    frames = [framed(_DELIVERIES, item.entry.frame + _rest(item).SerializeToString()) for item in items]
    return Encoded(message_type, b"".join((*frames, message_type(gap=gap).SerializeToString())))


def _rest(item: Item) -> pb.Delivery:
    return pb.Delivery(delivery_id=item.delivery_id, attempt=item.attempt, deadline=timestamp(item.due))
