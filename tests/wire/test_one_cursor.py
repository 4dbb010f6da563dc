"""Every way of reading events continues at the cursor of every other, and shows the same events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire.test_streams import publish
from websockets.sync.client import connect

from cco_sidecar.client import AsyncClient, Client
from cco_sidecar.core import codec
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import event_service_pb2 as pb
from orchestra.v1 import event_service_pb2_grpc

EVENTS = 30
Found = Iterator[tuple[str, dict[str, Any]]]


class Where(NamedTuple):
    """The sidecar and who reads; ``select`` are the fields that choose events."""

    sidecar: SidecarProcess
    agent: Agent
    channel: grpc.Channel
    select: dict[str, str]

    @property
    def stub(self) -> Any:
        return event_service_pb2_grpc.EventServiceStub(self.channel)

    def request(self, message: Any, **more: Any) -> Any:
        return codec.from_dict(message, {**self.select, **more})

    def url(self, path: str, **more: Any) -> str:
        return f"{self.sidecar.url}{path}?{urlencode({**self.select, **more})}"


# Each yields (cursor, event) after a cursor: the event's id, or what the server says after a batch.


def by_grpc_stream(where: Where, since: str) -> Found:
    stream = where.stub.Subscribe(where.request(pb.SubscribeRequest, since=since), metadata=where.agent.metadata)
    for batch in stream:
        yield from each_of(codec.to_dict(batch))


def by_grpc_poll(where: Where, since: str) -> Found:
    while True:
        request = where.request(pb.WaitEventsRequest, since=since, timeout=5, limit=4)
        answer = codec.to_dict(where.stub.WaitEvents(request, metadata=where.agent.metadata))
        yield from each_of(answer)
        since = answer["next_cursor"]


def by_rest_poll(where: Where, since: str) -> Found:
    while True:
        path = where.url("/api/events/wait", since=since, timeout=5, limit=3)
        answer = where.sidecar.request("GET", path.removeprefix(where.sidecar.url), where.agent).json()
        yield from each_of(answer)
        since = answer["next_cursor"]


def by_rest_list(where: Where, since: str) -> Found:
    while True:
        path = where.url("/api/events", since=since, limit=5).removeprefix(where.sidecar.url)
        page = where.sidecar.request("GET", path, where.agent).json()
        assert page["events"], "the list ended early"
        for event in page["events"]:
            yield event["event_id"], event
            since = event["event_id"]


def by_ndjson(where: Where, since: str) -> Found:
    path = where.url("/api/events/stream", since=since).removeprefix(where.sidecar.url)
    headers = {"Accept": "application/x-ndjson"}
    with where.sidecar.request("GET", path, where.agent, headers=headers, stream=True) as answer:
        for line in answer.iter_lines():
            yield from each_of(json.loads(line))


def by_sse(where: Where, since: str) -> Found:
    path = where.url("/api/events/stream").removeprefix(where.sidecar.url)
    headers = {"Last-Event-ID": since}
    with where.sidecar.request("GET", path, where.agent, headers=headers, stream=True) as answer:
        event_id = ""
        for line in answer.iter_lines():
            name, _, value = line.decode().partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                yield event_id, json.loads(value)


def by_websocket(where: Where, since: str) -> Found:
    url = where.url("/api/events/stream", since=since).replace("http://", "ws://")
    with connect(url, additional_headers=where.agent.headers, proxy=None) as socket:
        for text in socket:
            yield from each_of(json.loads(text))


def by_sdk(where: Where, since: str) -> Found:
    with Client(grpc_target=where.sidecar.target, token=where.agent.token) as client:
        for event in client.events.subscribe(**of_sdk(where), since=since):
            yield event.event_id, shown(event)


def by_async_sdk(where: Where, since: str) -> Found:
    with asyncio.Runner() as runner:
        client = AsyncClient(grpc_target=where.sidecar.target, token=where.agent.token)
        events = client.events.subscribe(**of_sdk(where), since=since)
        try:
            while True:
                event = runner.run(anext(events))
                yield event.event_id, shown(event)
        finally:
            runner.run(events.aclose())
            runner.run(client.close())


READERS: dict[str, Callable[[Where, str], Found]] = {
    name.removeprefix("by_"): reader for name, reader in list(globals().items()) if name.startswith("by_")
}


def each_of(batch: dict[str, Any]) -> Found:
    assert "gap" not in batch
    events = batch.get("events", [])
    for event in events[:-1]:
        yield event["event_id"], event
    if events:
        # After the last one, the batch's own cursor says the same, and may be further on.
        yield batch.get("cursor") or batch["next_cursor"], events[-1]


def of_sdk(where: Where) -> dict[str, Any]:
    return {name: value.split(",") if name == "event_types" else value for name, value in where.select.items()}


def shown(event: Any) -> dict[str, Any]:
    return {"event_id": event.event_id, "event_type": event.event_type, "data": event.data}


class World(NamedTuple):
    sidecar: SidecarProcess
    agent: Agent
    published: list[tuple[str, int]]
    channel: grpc.Channel


@pytest.fixture(scope="module")
def world(sidecar: SidecarProcess) -> Iterator[World]:
    agent = sidecar.agent("chief-architect", project="one-cursor")
    published = [(publish(sidecar, agent, "odd" if n % 2 else "even", data={"n": n}), n) for n in range(EVENTS)]
    with grpc.insecure_channel(sidecar.target) as channel:
        yield World(sidecar, agent, published, channel)


SELECTIONS: dict[str, tuple[dict[str, str], Callable[[int], bool]]] = {
    "everything": ({}, lambda n: True),
    "a filter": ({"filter": "n:>=7,!n:13"}, lambda n: n >= 7 and n != 13),
}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    hops=st.lists(st.tuples(st.sampled_from(sorted(READERS)), st.integers(1, 6)), min_size=4, max_size=9),
    selection=st.sampled_from(sorted(SELECTIONS)),
)
def test_readers_continue_where_another_stopped(world: World, hops: list[tuple[str, int]], selection: str) -> None:
    select, wanted = SELECTIONS[selection]
    where = Where(world.sidecar, world.agent, world.channel, select)
    left = [(event_id, n) for event_id, n in world.published if wanted(n)]
    cursor = "0"
    for name, count in hops:
        found = READERS[name](where, cursor)
        for event_id, n in left[:count]:
            cursor, event = next(found)
            assert (event["event_id"], event["data"]) == (event_id, {"n": n}), f"{name} in {hops}"
        found.close()  # type: ignore[attr-defined]
        left = left[count:]
        if not left:
            break


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_reader_shows_the_same_events(world: World, name: str) -> None:
    where = Where(world.sidecar, world.agent, world.channel, {})
    found = READERS[name](where, world.published[3][0])
    events = [next(found)[1] for _ in range(10)]
    reference = by_rest_list(where, world.published[3][0])
    expected = [next(reference)[1] for _ in range(10)]
    keys = events[0].keys()
    assert keys >= {"event_id", "event_type", "data"}
    assert events == [{key: value for key, value in event.items() if key in keys} for event in expected]
    found.close()  # type: ignore[attr-defined]


def test_no_reader_is_missing() -> None:
    """A new RPC that reads events belongs into this test."""
    reading = {name for name, method in pb.DESCRIPTOR.services_by_name["EventService"].methods_by_name.items()
               if "since" in method.input_type.fields_by_name}  # fmt: skip
    assert reading == {"Subscribe", "WaitEvents", "ListEvents"}
