"""The asynchronous client: events."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

import grpc

from cco_sidecar.client import requests
from cco_sidecar.client.aio_calls import AsyncCalls
from cco_sidecar.client.aio_streams import resumed
from cco_sidecar.client.errors import error_of
from cco_sidecar.client.values import Event, EventPage
from orchestra.v1 import event_service_pb2, event_service_pb2_grpc

log = logging.getLogger(__name__)


class Events:
    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = event_service_pb2_grpc.EventServiceStub(client.channel)

    async def publish(
        self,
        event_type: str,
        data: Mapping[str, Any] | None = None,
        *,
        topic: str = "",
        publisher: str = "",
        correlation_id: str = "",
        ttl_seconds: int | None = None,
        priority: str | None = None,
        project_id: str = "",
        idempotency_key: str = "",
        expected_last_event_id: str = "",
        causation_id: str = "",
        state_key: str = "",
        traceparent: str = "",
        tracestate: str = "",
    ) -> event_service_pb2.PublishEventResponse:
        """Publishes an event, and returns once it is on disk.

        ``topic`` defaults to coordination, ``ttl_seconds`` to a day. ``priority`` is low, normal or high. ``publisher``
        is operator only. A repeated call with the same ``idempotency_key`` returns the first event. With
        ``expected_last_event_id`` it fails unless that is the topic's newest event; "0" for a topic without events.
        ``causation_id`` is the id of the event that caused this one. ``state_key`` names the value that it carries, for
        ``list(latest=True)``. ``traceparent`` and ``tracestate`` are W3C trace context.
        """
        request = requests.publish(
            event_type,
            data,
            topic=topic,
            publisher=publisher,
            correlation_id=correlation_id,
            ttl_seconds=ttl_seconds,
            priority=priority,
            project_id=project_id,
            idempotency_key=idempotency_key,
            expected_last_event_id=expected_last_event_id,
            causation_id=causation_id,
            state_key=state_key,
            traceparent=traceparent,
            tracestate=tracestate,
        )
        return await self._client.call(self._stub.PublishEvent, request)

    async def publish_many(self, events: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Publishes all events or none, and returns their ids once they are on disk.

        Each event is a mapping of the arguments of ``publish``, such as ``{"event_type": "tests_passing"}``.
        """
        batch = event_service_pb2.PublishEventsRequest(events=[requests.publish(**event) for event in events])
        await self._client.connect()
        try:
            stream = self._stub.PublishEvents(requests.once(batch), metadata=await self._client.metadata())
            async for answer in stream:
                return list(answer.event_ids)
        except grpc.RpcError as problem:
            raise error_of(problem) from None
        return []

    async def subscribe(
        self,
        *,
        event_types: Sequence[str] = (),
        topics: Sequence[str] = (),
        filter: str = "",
        since: str = "",
        since_time: datetime | None = None,
        last: int | None = None,
        project_id: str = "",
    ) -> AsyncIterator[Event]:
        """Yields events as they arrive, without end; resumes after the last event if the connection is lost.

        ``since`` is an event id, or "0" for all retained events; ``last`` begins with so many of the newest. If events
        were missed because they are no longer retained, a warning is logged.
        """
        request = requests.subscribe(event_types, topics, filter, since, since_time, last, project_id)
        opened = resumed(self._client, lambda metadata: self._stub.Subscribe(request, metadata=metadata))
        async with aclosing(opened) as batches:
            async for batch in batches:
                if batch.HasField("gap"):
                    log.warning("events are no longer retained: %s", batch.gap)
                for event in batch.events:
                    yield Event.of(event)
                request.since = batch.cursor

    async def wait(
        self,
        event_type: str = "",
        *,
        topic: str = "",
        filter: str = "",
        since: str = "",
        timeout: float = 30.0,
        limit: int | None = None,
        project_id: str = "",
    ) -> EventPage:
        """Waits up to ``timeout`` seconds for events, with one long poll."""
        request = requests.wait(event_type, topic, filter, since, timeout, limit, project_id)
        answer = await self._client.call(self._stub.WaitEvents, request)
        return EventPage.of(answer)

    async def get(self, event_id: str, *, project_id: str = "") -> Event:
        """Returns a retained event. Raises NotFoundError."""
        request = event_service_pb2.GetEventRequest(event_id=event_id, project_id=project_id)
        return Event.of((await self._client.call(self._stub.GetEvent, request)).event)

    async def list(
        self,
        *,
        topic: str = "",
        event_type: str = "",
        since: str = "",
        since_time: datetime | None = None,
        correlation_id: str = "",
        filter: str = "",
        limit: int | None = None,
        latest: bool = False,
        before: str = "",
        project_id: str = "",
    ) -> EventPage:
        """Returns retained events, oldest first: after ``since``, from ``since_time``, or else the newest ``limit``.

        ``latest`` returns only the newest event of each topic and ``state_key``; ``before`` the newest before an event.
        """
        request = requests.list_events(
            topic, event_type, since, since_time, correlation_id, filter, limit, latest, before, project_id
        )
        answer = await self._client.call(self._stub.ListEvents, request)
        return EventPage.of(answer)

    async def iterate(
        self,
        *,
        topic: str = "",
        event_type: str = "",
        since: str = "0",
        since_time: datetime | None = None,
        correlation_id: str = "",
        filter: str = "",
        project_id: str = "",
    ) -> AsyncIterator[Event]:
        """Yields all retained events after ``since``, or from ``since_time`` if ``since`` is empty, oldest first."""
        while True:
            page = await self.list(
                topic=topic,
                event_type=event_type,
                since=since,
                since_time=since_time,
                correlation_id=correlation_id,
                filter=filter,
                project_id=project_id,
            )
            for event in page.events:
                yield event
            if not page.next_cursor:
                return
            since = page.next_cursor
