"""One process of clients for `bench.events`: subscribers, or a publisher, of one peer, with that peer's usual client.

``python -m bench.event_clients subscribe PEER ADDRESS COUNT FIRST OUT`` prints ``ready`` once COUNT subscribers listen,
and writes what they received to OUT when it reads a line. ``publish PEER ADDRESS RATE SECONDS`` publishes RATE events a
second, each acknowledged, and prints its measurements as JSON. ``flood PEER ADDRESS SECONDS`` publishes as many as it
can, 100 at a time, and waits for the acknowledgements of at most 400.

The addresses are JSON, as each peer in `bench.event_peers` gives them. Every event carries its number and when it was
published, in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import array
import asyncio
import importlib
import itertools
import json
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import uvloop

# What each peer carries, next to the number and the time: about 290 bytes with the envelope.
PAYLOAD = {
    "project": "alpha",
    "severity": 3,
    "branch": "feature/adaptive-flush",
    "ok": True,
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "message": "build finished in 12.4 s, 118 tests passed, none failed",
}
SUBJECT = "task.events"
# Publishes that wait for their acknowledgement at the same time.
_IN_FLIGHT = 256
_BATCH = 100
_BATCHES_IN_FLIGHT = 4

Received = Callable[[int, int], None]
"""Called with an event's number and the time it was published."""


class Clients(Protocol):
    """The clients of one peer, in this process."""

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        """Receives for ever; calls ``ready`` once it misses nothing."""
        ...

    async def connect(self) -> None:
        """Opens the publisher's connection."""
        ...

    async def publish(self, payload: dict[str, Any]) -> None:
        """Publishes one event, and returns once the peer has acknowledged it."""
        ...

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        """Publishes events in the way that is fastest, and returns once the peer has acknowledged all of them."""
        ...


class Sidecar:
    """The SDK; every subscriber is an agent with a token and a channel of its own."""

    def __init__(self, address: dict[str, Any]) -> None:
        self._address = address

    def _client(self, index: int) -> Any:
        from cco_sidecar.client import AsyncClient

        tokens = self._address["tokens"]
        return AsyncClient(self._address["url"], token=tokens[index % len(tokens)], grpc_target=self._address["grpc"])

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        client = self._client(index)
        events = client.events.subscribe(topics=[SUBJECT], filter=self._address["filter"], since="0")
        async for event in events:
            if event.event_type == "ready":
                ready()
            else:
                received(int(event.data["n"]), int(event.data["t"]))

    async def connect(self) -> None:
        self._publisher = self._client(0)
        await self._publisher.connect()

    async def publish(self, payload: dict[str, Any]) -> None:
        await self._publisher.events.publish("task_completed", payload, topic=SUBJECT)

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        await self._publisher.events.publish_many(
            [{"event_type": "task_completed", "data": payload, "topic": SUBJECT} for payload in payloads]
        )


class SidecarRest(Sidecar):
    """Arrays over REST: a line of JSON for each batch (`POST /api/events:publish`)."""

    async def connect(self) -> None:
        import httpx

        self._http = httpx.AsyncClient(base_url=self._address["url"])

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        events = [{"event_type": "task_completed", "data": payload, "topic": SUBJECT} for payload in payloads]
        answer = await self._http.post(
            "/api/events:publish",
            content=json.dumps({"events": events}).encode() + b"\n",
            headers={
                "content-type": "application/x-ndjson",
                "authorization": f"Bearer {self._address['tokens'][0]}",
            },
        )
        answer.raise_for_status()
        assert len(answer.json()["event_ids"]) == len(payloads), answer.text


class SidecarStub(Sidecar):
    """The generated stub: all batches in one stream, acknowledged in their order."""

    async def connect(self) -> None:
        import grpc.aio

        from orchestra.v1 import event_service_pb2, event_service_pb2_grpc

        self._pb = event_service_pb2
        channel = grpc.aio.insecure_channel(self._address["grpc"])
        token = (("authorization", f"Bearer {self._address['tokens'][0]}"),)
        self._stream = event_service_pb2_grpc.EventServiceStub(channel).PublishEvents(metadata=token)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._writing = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        batch = self._pb.PublishEventsRequest()
        for payload in payloads:
            event = batch.events.add(event_type="task_completed", topic=SUBJECT)
            event.data.update(payload)
        done = asyncio.get_running_loop().create_future()
        async with self._writing:
            self._waiting.append(done)
            await self._stream.write(batch)
        await done

    async def _read(self) -> None:
        async for answer in self._stream:
            assert answer.event_ids
            self._waiting.popleft().set_result(None)


class Grpc:
    """A bare grpc.aio service that sends each subscriber every event, each in a message of its own."""

    def __init__(self, address: dict[str, Any]) -> None:
        self._target = address["grpc"]
        self._number = 0

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        import grpc.aio

        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self._target, options=options) as channel:
            stream = channel.unary_stream("/bench.Fan/Subscribe")(b"")
            await stream.read()
            ready()
            while True:
                event = json.loads(await stream.read())
                received(event["n"], event["t"])

    async def connect(self) -> None:
        import grpc.aio

        self._call = grpc.aio.insecure_channel(self._target).unary_unary("/bench.Fan/Publish")

    async def publish(self, payload: dict[str, Any]) -> None:
        await self._call(json.dumps(payload).encode())

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        """What is published here is a message of our stream with one event, so that our clients can read it."""
        from orchestra.v1 import event_service_pb2 as pb

        messages = []
        for payload in payloads:
            self._number += 1
            batch = pb.SubscribeResponse()
            event = batch.events.add(event_id=f"evt-{self._number:010}", event_type="task_completed", topic=SUBJECT)
            event.data.update(payload)
            messages.append(batch.SerializeToString())
        await asyncio.gather(*map(self._call, messages))


class Nats:
    """nats-py, without a stream: nothing is stored."""

    def __init__(self, address: dict[str, Any]) -> None:
        self._url = address["url"]

    async def _connection(self) -> Any:
        import nats

        return await nats.connect(self._url)

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        connection = await self._connection()

        async def handle(message: Any) -> None:
            event = json.loads(message.data)
            received(event["n"], event["t"])

        await self._receive(connection, handle)
        await connection.flush()
        ready()
        await asyncio.Event().wait()

    async def _receive(self, connection: Any, handle: Any) -> None:
        await connection.subscribe(SUBJECT, cb=handle)

    async def connect(self) -> None:
        self._publisher = await self._connection()

    async def publish(self, payload: dict[str, Any]) -> None:
        await self._publisher.publish(SUBJECT, json.dumps(payload).encode())


class JetStream(Nats):
    """nats-py with an ordered consumer for each subscriber, and acknowledged publishes."""

    async def _receive(self, connection: Any, handle: Any) -> None:
        await connection.jetstream().subscribe(SUBJECT, cb=handle, ordered_consumer=True)

    async def connect(self) -> None:
        self._stream = (await self._connection()).jetstream()

    async def publish(self, payload: dict[str, Any]) -> None:
        await self._stream.publish(SUBJECT, json.dumps(payload).encode())

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        sent = [await self._stream.publish_async(SUBJECT, json.dumps(payload).encode()) for payload in payloads]
        await asyncio.gather(*sent)


class RedisPubSub:
    """redis-py, publish and subscribe: nothing is stored."""

    def __init__(self, address: dict[str, Any]) -> None:
        from redis.asyncio import Redis

        self._redis = Redis(port=address["port"], max_connections=10_000)

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(SUBJECT)
            async for message in channel.listen():
                if message["type"] == "subscribe":
                    ready()
                else:
                    event = json.loads(message["data"])
                    received(event["n"], event["t"])

    async def connect(self) -> None:
        await self._redis.ping()

    async def publish(self, payload: dict[str, Any]) -> None:
        await self._redis.publish(SUBJECT, json.dumps(payload))


class RedisStreams(RedisPubSub):
    """redis-py, streams: each subscriber reads on from its last id."""

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        last = "0"
        ready()
        while True:
            for _, entries in await self._redis.xread({SUBJECT: last}, block=0):
                last = entries[-1][0]
                for _, fields in entries:
                    event = json.loads(fields[b"e"])
                    received(event["n"], event["t"])

    async def publish(self, payload: dict[str, Any]) -> None:
        await self._redis.xadd(SUBJECT, {"e": json.dumps(payload)})

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for payload in payloads:
            pipeline.xadd(SUBJECT, {"e": json.dumps(payload)})
        await pipeline.execute()


class Etcd:
    """aetcd: each subscriber watches one key."""

    def __init__(self, address: dict[str, Any]) -> None:
        self._port = address["port"]

    def _client(self) -> Any:
        import aetcd

        return aetcd.Client(port=self._port)

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        async with self._client() as client:
            watch = await client.watch(SUBJECT.encode())
            ready()
            async for change in watch:
                event = json.loads(change.kv.value)
                received(event["n"], event["t"])

    async def connect(self) -> None:
        self._etcd = self._client()
        await self._etcd.connect()

    async def publish(self, payload: dict[str, Any]) -> None:
        await self._etcd.put(SUBJECT.encode(), json.dumps(payload).encode())


class AutoGen:
    """The runtime of AutoGen's gRPC host; each subscriber is a worker with one agent."""

    def __init__(self, address: dict[str, Any]) -> None:
        self._target = address["grpc"]

    async def _runtime(self) -> Any:
        from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime

        runtime = GrpcWorkerAgentRuntime(self._target)
        await runtime.start()
        return runtime

    async def subscribe(self, index: int, ready: Callable[[], None], received: Received) -> None:
        from autogen_core import TypeSubscription
        from bench.event_autogen import Subscriber

        runtime = await self._runtime()
        name = f"subscriber-{index}"
        await Subscriber.register(runtime, name, lambda: Subscriber(received))
        await runtime.add_subscription(TypeSubscription(topic_type=SUBJECT, agent_type=name))
        ready()
        await asyncio.Event().wait()

    async def connect(self) -> None:
        from autogen_core import try_get_known_serializers_for_type
        from bench.event_autogen import Message

        self._worker = await self._runtime()
        self._worker.add_message_serializer(try_get_known_serializers_for_type(Message))
        self._message = Message

    async def publish(self, payload: dict[str, Any]) -> None:
        from autogen_core import TopicId

        await self._worker.publish_message(self._message(**payload), TopicId(SUBJECT, "default"))

    async def publish_many(self, payloads: list[dict[str, Any]]) -> None:
        await asyncio.gather(*map(self.publish, payloads))


CLIENTS: dict[str, type] = {
    "sidecar": Sidecar,
    "sidecar-rest": SidecarRest,
    "sidecar-stub": SidecarStub,
    "grpc": Grpc,
    "nats": Nats,
    "jetstream": JetStream,
    "redis": RedisPubSub,
    "redis-streams": RedisStreams,
    "etcd": Etcd,
    "autogen": AutoGen,
}


def clients(kind: str, address: dict[str, Any]) -> Clients:
    """``kind`` is one of CLIENTS, or ``module:class`` for a peer of one's own."""
    if ":" in kind:
        module, name = kind.split(":")
        return getattr(importlib.import_module(module), name)(address)  # type: ignore[no-any-return]
    return CLIENTS[kind](address)  # type: ignore[no-any-return]


async def subscribe(kind: str, address: dict[str, Any], count: int, first: int, out: str) -> None:
    peer = clients(kind, address)
    arrived = array.array("q")
    broken: list[str] = []
    waiting = count
    loop = asyncio.get_running_loop()

    def ready() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            print("ready", flush=True)

    async def one(index: int) -> None:
        last = 0

        def received(number: int, published: int) -> None:
            nonlocal last
            now = time.monotonic_ns()
            if last and number != last + 1:
                broken.append(f"{index}: {number} after {last}")
            last = number
            arrived.extend((published, now))

        try:
            await peer.subscribe(index, ready, received)
        except Exception as problem:
            broken.append(f"{index}: {problem!r}")
            print(f"subscriber {index}: {problem!r}", file=sys.stderr, flush=True)
            if waiting:
                os._exit(1)

    tasks = [asyncio.create_task(one(first + index)) for index in range(count)]
    await loop.run_in_executor(None, sys.stdin.readline)
    with open(out, "wb") as file:  # noqa: ASYNC230
        file.write(arrived.tobytes())
    print(json.dumps({"cpu": time.process_time(), "broken": broken[:10], "subscribers": len(tasks)}), flush=True)
    # Some clients cannot be closed while they wait.
    os._exit(0)


async def publish(kind: str, address: dict[str, Any], rate: float, seconds: float) -> None:
    peer = clients(kind, address)
    await peer.connect()
    acknowledged: list[int] = []
    failed: list[str] = []
    running: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        began = time.monotonic_ns()
        try:
            await peer.publish(PAYLOAD | {"n": number, "t": began})
            acknowledged.append(time.monotonic_ns() - began)
        except Exception as problem:
            failed.append(repr(problem)[:200])

    print("publishing", flush=True)
    started = time.monotonic()
    total = int(rate * seconds)
    for number in range(1, total + 1):
        while len(running) >= _IN_FLIGHT:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        task: Awaitable[None] = asyncio.create_task(one(number))
        running.add(task)  # type: ignore[arg-type]
        task.add_done_callback(running.discard)  # type: ignore[attr-defined]
        ahead = started + number / rate - time.monotonic()
        await asyncio.sleep(max(0.0, ahead))
    if running:
        await asyncio.wait(running)
    took = time.monotonic() - started
    acknowledged.sort()
    print(
        json.dumps(
            {
                "began": int(started * 1e9),
                "rate": len(acknowledged) / took,
                "acknowledged": acknowledged,
                "failed": failed[:5],
                "failures": len(failed),
                "cpu": time.process_time(),
            }
        ),
        flush=True,
    )


async def flood(kind: str, address: dict[str, Any], seconds: float) -> None:
    peer = clients(kind, address)
    await peer.connect()
    print("publishing", flush=True)
    started = time.monotonic()
    acknowledged = 0
    numbers = itertools.count(1)

    async def one_after_another() -> None:
        nonlocal acknowledged
        while time.monotonic() < started + seconds:
            now = time.monotonic_ns()
            await peer.publish_many([PAYLOAD | {"n": next(numbers), "t": now} for _ in range(_BATCH)])
            acknowledged += _BATCH

    await asyncio.gather(*(one_after_another() for _ in range(_BATCHES_IN_FLIGHT)))
    rate = acknowledged / (time.monotonic() - started)
    print(json.dumps({"rate": rate, "cpu": time.process_time()}), flush=True)
    os._exit(0)


def main() -> None:
    role, kind, address, *rest = sys.argv[1:]
    with suppress(KeyboardInterrupt):
        if role == "subscribe":
            count, first, out = rest
            uvloop.run(subscribe(kind, json.loads(address), int(count), int(first), out))
        elif role == "flood":
            uvloop.run(flood(kind, json.loads(address), float(rest[0])))
        else:
            rate, seconds = map(float, rest)
            uvloop.run(publish(kind, json.loads(address), rate, seconds))


if __name__ == "__main__":
    main()
