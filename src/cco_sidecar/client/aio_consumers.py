"""The asynchronous client: durable consumers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cco_sidecar.client import requests
from cco_sidecar.client.aio_calls import AsyncCalls
from cco_sidecar.client.aio_streams import resumed
from cco_sidecar.client.values import Event, time_of
from orchestra.v1 import consumer_service_pb2, consumer_service_pb2_grpc

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event to handle. It is delivered again unless it is acknowledged, extended or rejected before ``deadline``.

    ``attempt`` is 1 the first time. ``message`` is the original protobuf message.
    """

    event: Event
    attempt: int
    deadline: datetime
    delivery_id: str
    message: consumer_service_pb2.Delivery = field(repr=False)
    _consumers: Consumers = field(repr=False)
    _consumer: str
    _project_id: str

    async def ack(self) -> bool:
        """Settles the event, and returns once this is on disk. False if it was too late, and the event was delivered
        again."""
        return not await self._consumers.ack(self._consumer, [self.delivery_id], project_id=self._project_id)

    async def nack(self, reason: str = "", *, delay_seconds: float | None = None, dead_letter: bool = False) -> bool:
        """Gives the event back, to be delivered again after a delay; with ``dead_letter``, not again. False if it was
        too late."""
        return not await self._consumers.nack(
            self._consumer,
            [self.delivery_id],
            reason,
            delay_seconds=delay_seconds,
            dead_letter=dead_letter,
            project_id=self._project_id,
        )

    async def extend(self) -> bool:
        """Says that the event is still being worked on: the time until ``deadline`` starts again. False if it was too
        late."""
        return not await self._consumers.extend(self._consumer, [self.delivery_id], project_id=self._project_id)


class Consumers:
    """Durable consumers: the server keeps the position, and delivers events until they are acknowledged."""

    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = consumer_service_pb2_grpc.ConsumerServiceStub(client.channel)

    async def create(
        self,
        name: str,
        *,
        event_types: Sequence[str] = (),
        topics: Sequence[str] = (),
        filter: str = "",
        ack_wait_seconds: int | None = None,
        max_deliveries: int | None = None,
        max_in_flight: int | None = None,
        retry_seconds: float | None = None,
        shared: bool = False,
        agent_types: Sequence[str] = (),
        unused_seconds: int | None = None,
        since: str = "",
        since_time: datetime | None = None,
        project_id: str = "",
    ) -> consumer_service_pb2.Consumer:
        """Creates a consumer, or returns the existing one if it has the same settings.

        It begins after ``since``, "0" for all retained events, or at ``since_time``, else with the next event. Raises
        ConflictError if there is another consumer of this name.
        """
        settings = consumer_service_pb2.ConsumerSettings(
            event_types=requests.names(event_types),
            topics=requests.names(topics),
            filter=filter,
            ack_wait_seconds=ack_wait_seconds,
            max_deliveries=max_deliveries,
            max_in_flight=max_in_flight,
            retry_seconds=retry_seconds,
            shared=shared,
            agent_types=agent_types,
            unused_seconds=unused_seconds,
        )
        request = consumer_service_pb2.CreateConsumerRequest(
            name=name,
            settings=settings,
            since=since,
            since_time=requests.stamp(since_time),
            project_id=project_id,
        )
        return (await self._client.call(self._stub.CreateConsumer, request)).consumer

    async def get(self, name: str, *, project_id: str = "") -> consumer_service_pb2.Consumer:
        """Returns a consumer, with what is in flight. Raises NotFoundError."""
        request = consumer_service_pb2.GetConsumerRequest(name=name, project_id=project_id)
        return (await self._client.call(self._stub.GetConsumer, request)).consumer

    async def list(self, *, project_id: str = "") -> Sequence[consumer_service_pb2.Consumer]:
        """Returns all consumers of the project, by name."""
        request = consumer_service_pb2.ListConsumersRequest(project_id=project_id)
        return (await self._client.call(self._stub.ListConsumers, request)).consumers

    async def delete(self, name: str, *, project_id: str = "") -> int:
        """Deletes a consumer; returns the number of dead letters that were deleted with it."""
        request = consumer_service_pb2.DeleteConsumerRequest(name=name, project_id=project_id)
        return (await self._client.call(self._stub.DeleteConsumer, request)).dead_letters

    async def reset(
        self, name: str, *, since: str = "", since_time: datetime | None = None, project_id: str = ""
    ) -> consumer_service_pb2.Consumer:
        """Moves a consumer to just after ``since``, which is an event id, "0" for all retained events or "$" for new
        ones only, or to ``since_time``."""
        request = consumer_service_pb2.ResetConsumerRequest(
            name=name, since=since, since_time=requests.stamp(since_time), project_id=project_id
        )
        return (await self._client.call(self._stub.ResetConsumer, request)).consumer

    async def consume(
        self, name: str, *, max_in_flight: int = 10, worker: str = "", project_id: str = ""
    ) -> AsyncIterator[Delivery]:
        """Yields deliveries as they become possible, without end; continues if the connection is lost.

        At most ``max_in_flight`` deliveries are unsettled at a time. ``worker`` must be unique among the processes that
        share a token; by default it is chosen at random.
        """
        request = consumer_service_pb2.ConsumeRequest(
            name=name,
            max_in_flight=max_in_flight,
            worker=worker or f"worker-{secrets.token_hex(8)}",
            project_id=project_id,
        )
        opened = resumed(self._client, lambda metadata: self._stub.Consume(request, metadata=metadata))
        async with aclosing(opened) as messages:
            async for message in messages:
                if message.HasField("gap"):
                    log.warning("events are no longer retained: %s", message.gap)
                for delivery in message.deliveries:
                    yield self._delivery(delivery, name, project_id)

    async def pull(
        self, name: str, *, limit: int | None = None, timeout: float = 30.0, project_id: str = ""
    ) -> Sequence[Delivery]:
        """Waits up to ``timeout`` seconds for deliveries, and returns at most ``limit`` of them."""
        request = consumer_service_pb2.PullEventsRequest(
            name=name, limit=limit, timeout=int(timeout * 1000), project_id=project_id
        )
        answer = await self._client.call(self._stub.PullEvents, request)
        return [self._delivery(each, name, project_id) for each in answer.deliveries]

    async def ack(self, name: str, delivery_ids: Sequence[str], *, project_id: str = "") -> Sequence[str]:
        """Settles deliveries, and returns once this is on disk: the ids of those that were too late."""
        request = consumer_service_pb2.AcknowledgeEventsRequest(
            name=name, delivery_ids=delivery_ids, project_id=project_id
        )
        return (await self._client.call(self._stub.AcknowledgeEvents, request)).not_held

    async def nack(
        self,
        name: str,
        delivery_ids: Sequence[str],
        reason: str = "",
        *,
        delay_seconds: float | None = None,
        dead_letter: bool = False,
        project_id: str = "",
    ) -> Sequence[str]:
        """Gives deliveries back; returns the ids of those that were too late."""
        request = consumer_service_pb2.RejectEventsRequest(
            name=name,
            delivery_ids=delivery_ids,
            reason=reason,
            delay_seconds=delay_seconds,
            dead_letter=dead_letter,
            project_id=project_id,
        )
        return (await self._client.call(self._stub.RejectEvents, request)).not_held

    async def extend(self, name: str, delivery_ids: Sequence[str], *, project_id: str = "") -> Sequence[str]:
        """Starts the time of deliveries again; returns the ids of those that were too late."""
        request = consumer_service_pb2.ExtendEventsRequest(name=name, delivery_ids=delivery_ids, project_id=project_id)
        return (await self._client.call(self._stub.ExtendEvents, request)).not_held

    async def dead_letters(
        self, name: str = "", *, limit: int | None = None, cursor: str = "", project_id: str = ""
    ) -> consumer_service_pb2.ListDeadLettersResponse:
        """Returns a page of dead letters, newest first, of one consumer or of all."""
        request = consumer_service_pb2.ListDeadLettersRequest(
            consumer=name, limit=limit, cursor=cursor, project_id=project_id
        )
        return await self._client.call(self._stub.ListDeadLetters, request)

    async def dead_letter(self, dead_letter_id: str, *, project_id: str = "") -> consumer_service_pb2.DeadLetter:
        """Returns a dead letter. Raises NotFoundError."""
        request = consumer_service_pb2.GetDeadLetterRequest(dead_letter_id=dead_letter_id, project_id=project_id)
        return (await self._client.call(self._stub.GetDeadLetter, request)).dead_letter

    async def replay(self, name: str, dead_letter_ids: Sequence[str] = (), *, project_id: str = "") -> int:
        """Delivers dead letters of a consumer again, the oldest 1,000 by default; returns how many."""
        request = consumer_service_pb2.ReplayDeadLettersRequest(
            name=name, dead_letter_ids=dead_letter_ids, project_id=project_id
        )
        return (await self._client.call(self._stub.ReplayDeadLetters, request)).replayed

    async def delete_dead_letter(self, dead_letter_id: str, *, project_id: str = "") -> None:
        """Deletes a dead letter. Raises NotFoundError."""
        request = consumer_service_pb2.DeleteDeadLetterRequest(dead_letter_id=dead_letter_id, project_id=project_id)
        await self._client.call(self._stub.DeleteDeadLetter, request)

    def _delivery(self, message: Any, name: str, project_id: str) -> Delivery:
        return Delivery(
            Event.of(message.event),
            message.attempt,
            time_of(message.deadline),
            message.delivery_id,
            message,
            self,
            name,
            project_id,
        )
