"""ConsumerService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.consumers.consumer import Consumer
from cco_sidecar.bus.consumers.registry import Consumers, unknown_letter
from cco_sidecar.core.clock import timestamp
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.paging import number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.consumers import deliveries
from cco_sidecar.services.consumers.access import require_change, require_deletable, require_use
from cco_sidecar.storage.event_stores import ConsumerStore
from orchestra.v1 import consumer_service_pb2 as pb


class ConsumerServicer:
    """Implements orchestra.v1.ConsumerService. Errors are raised as SidecarError."""

    def __init__(self, consumers: Consumers, store: ConsumerStore, bus: EventBus) -> None:
        self._consumers = consumers
        self._store = store
        self._bus = bus

    async def CreateConsumer(
        self, request: pb.CreateConsumerRequest, principal: Principal
    ) -> pb.CreateConsumerResponse:
        record = pb.Consumer(
            name=request.name,
            project_id=request.project_id,
            settings=request.settings,
            created_by=principal.subject,
        )
        since_time = request.since_time if request.HasField("since_time") else None
        consumer = await self._consumers.create(record, request.since, since_time)
        return pb.CreateConsumerResponse(consumer=await self._shown(consumer))

    async def GetConsumer(self, request: pb.GetConsumerRequest, principal: Principal) -> pb.GetConsumerResponse:
        consumer = self._consumers.find(request.project_id, request.name)
        return pb.GetConsumerResponse(consumer=await self._shown(consumer))

    async def ListConsumers(self, request: pb.ListConsumersRequest, principal: Principal) -> pb.ListConsumersResponse:
        found = [await self._shown(each, whole=False) for each in self._consumers.of(request.project_id)]
        return pb.ListConsumersResponse(consumers=found)

    async def DeleteConsumer(
        self, request: pb.DeleteConsumerRequest, principal: Principal
    ) -> pb.DeleteConsumerResponse:
        require_deletable(self._consumers.find(request.project_id, request.name), principal)
        deleted = await self._consumers.delete(request.project_id, request.name)
        return pb.DeleteConsumerResponse(name=request.name, dead_letters=deleted)

    async def ResetConsumer(self, request: pb.ResetConsumerRequest, principal: Principal) -> pb.ResetConsumerResponse:
        consumer = self._consumers.find(request.project_id, request.name)
        require_change(consumer, principal)
        since_time = request.since_time if request.HasField("since_time") else None
        await consumer.reset(await self._consumers.position(request.project_id, request.since, since_time))
        return pb.ResetConsumerResponse(consumer=await self._shown(consumer))

    def Consume(self, request: pb.ConsumeRequest, principal: Principal) -> AsyncIterator[Encoded]:
        return deliveries.consume(self._bus, self._usable(request, principal), request, principal)

    async def PullEvents(self, request: pb.PullEventsRequest, principal: Principal) -> Encoded:
        return await deliveries.pull(self._bus, self._usable(request, principal), request, principal)

    async def AcknowledgeEvents(
        self, request: pb.AcknowledgeEventsRequest, principal: Principal
    ) -> pb.AcknowledgeEventsResponse:
        consumer = self._usable(request, principal)
        not_held = await consumer.acknowledge(request.delivery_ids, principal.subject)
        return pb.AcknowledgeEventsResponse(settled=len(request.delivery_ids) - len(not_held), not_held=not_held)

    async def RejectEvents(self, request: pb.RejectEventsRequest, principal: Principal) -> pb.RejectEventsResponse:
        consumer = self._usable(request, principal)
        delay = request.delay_seconds if request.HasField("delay_seconds") else None
        not_held = await consumer.reject(
            request.delivery_ids, principal.subject, request.reason, delay, final=request.dead_letter
        )
        return pb.RejectEventsResponse(rejected=len(request.delivery_ids) - len(not_held), not_held=not_held)

    async def ExtendEvents(self, request: pb.ExtendEventsRequest, principal: Principal) -> pb.ExtendEventsResponse:
        consumer = self._usable(request, principal)
        not_held = consumer.extend(request.delivery_ids, principal.subject)
        return pb.ExtendEventsResponse(deadline=timestamp(consumer.deadline()), not_held=not_held)

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, principal: Principal
    ) -> pb.ListDeadLettersResponse:
        if request.consumer:
            self._consumers.find(request.project_id, request.consumer)
        found = await paged(
            lambda before, limit: self._store.letter_page(
                request.project_id, request.consumer, before=before, limit=limit
            ),
            number_of(request.cursor),
            request.limit,
        )
        return pb.ListDeadLettersResponse(
            dead_letters=[stored.letter for stored in found.items], next_cursor=found.next_cursor
        )

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, principal: Principal) -> pb.GetDeadLetterResponse:
        return pb.GetDeadLetterResponse(dead_letter=await self._letter(request.project_id, request.dead_letter_id))

    async def ReplayDeadLetters(
        self, request: pb.ReplayDeadLettersRequest, principal: Principal
    ) -> pb.ReplayDeadLettersResponse:
        consumer = self._consumers.find(request.project_id, request.name)
        require_change(consumer, principal)
        found = await self._store.letters(request.project_id, request.name, request.dead_letter_ids)
        missing = set(request.dead_letter_ids) - {letter.dead_letter_id for letter in found}
        if missing:
            raise unknown_letter(min(missing))
        return pb.ReplayDeadLettersResponse(replayed=await consumer.replay(found))

    async def DeleteDeadLetter(
        self, request: pb.DeleteDeadLetterRequest, principal: Principal
    ) -> pb.DeleteDeadLetterResponse:
        letter = await self._letter(request.project_id, request.dead_letter_id)
        consumer = self._consumers.find(request.project_id, letter.consumer)
        require_change(consumer, principal)
        await self._store.delete_letter(request.project_id, request.dead_letter_id)
        consumer.discard(letter)
        return pb.DeleteDeadLetterResponse(dead_letter_id=request.dead_letter_id)

    def _usable(
        self,
        request: pb.ConsumeRequest
        | pb.PullEventsRequest
        | pb.AcknowledgeEventsRequest
        | pb.RejectEventsRequest
        | pb.ExtendEventsRequest,
        principal: Principal,
    ) -> Consumer:
        consumer = self._consumers.find(request.project_id, request.name)
        require_use(consumer, principal)
        return consumer

    async def _shown(self, consumer: Consumer, *, whole: bool = True) -> pb.Consumer:
        found = consumer.snapshot(whole=whole)
        found.lag = await self._consumers.lag(consumer)
        found.dead_letter_count = await self._store.letter_count(found.project_id, found.name)
        return found

    async def _letter(self, project: str, dead_letter_id: str) -> pb.DeadLetter:
        letter = await self._store.letter(project, dead_letter_id)
        if letter is None:
            raise unknown_letter(dead_letter_id)
        return letter
