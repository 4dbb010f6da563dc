"""Webhooks on the embedded bus and SQLite: recovery, gaps, receivers that are gone, and failures of the bus."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.receivers import Receiver, Request, receiving

from cco_sidecar.bus.base import Outgoing
from cco_sidecar.bus.consumers.registry import Consumers
from cco_sidecar.bus.embedded import EmbeddedBus
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.bus.webhooks.registry import Webhooks
from cco_sidecar.bus.webhooks.worker import delay_of
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.core.hosts import AllowedHosts
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.eventlog.log import SegmentLog
from cco_sidecar.storage.sealing import Seal
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1.consumer_service_pb2 import Consumer
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.webhook_service_pb2 import Webhook, WebhookSettings


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.database = Database(Sqlite(directory / "records.db"))
        self.stores = SqlStores(self.database)
        self.settings = Settings()

    async def open(self) -> None:
        self.log = SegmentLog(self.directory)
        self.bus = EmbeddedBus(self.log, self.clock, self.settings)
        await self.bus.start()
        self.outbox = Outbox(self.stores.outbox, self.bus)
        self.consumers = Consumers(self.stores.consumers, self.bus, self.outbox, self.clock)
        await self.consumers.recover()
        seal = Seal(self.directory.parent / f"{self.directory.name}.key", self.directory, self.stores)
        hosts = AllowedHosts(["localhost"])
        self.webhooks = Webhooks(self.stores.webhooks, self.consumers, hosts, seal, self.bus, self.clock)
        await self.webhooks.recover()
        self.webhooks.start()

    async def close(self) -> None:
        await self.webhooks.stop()
        await self.consumers.close()
        await self.outbox.close()
        await self.bus.close()
        await self.log.close()

    async def create(self, url: str, name: str = "h", **settings: Any) -> None:
        settings = {"retry_seconds": 0.05} | settings
        await self.webhooks.create(
            Webhook(name=name, project_id="p", url=url, settings=WebhookSettings(**settings)), ""
        )

    async def publish(self, count: int = 1) -> None:
        for _ in range(count):
            await self.bus.publish(Outgoing("p", Event(event_type="e", publisher="ann", topic="t")))

    async def status(self, name: str = "h") -> Any:
        return (await self.webhooks.get("p", name)).status


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "storage").mkdir()
    made = World(tmp_path / "storage")
    await made.open()
    yield made
    await made.close()
    made.database.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


async def until(probe: Callable[[], Awaitable[Any]], what: str) -> Any:
    async with asyncio.timeout(30):
        while not (found := await probe()):
            await asyncio.sleep(0.01)
    return found


async def test_a_consumer_that_a_crash_left_alone_is_removed(world: World, receiver: Receiver) -> None:
    await world.create(receiver.url)
    await world.consumers.create(Consumer(name="mine", project_id="p", created_by="ann"), "", None)
    await world.stores.webhooks.delete("p", "h")
    await world.close()
    await world.open()
    assert [each.record.name for each in world.consumers.of("p")] == ["mine"]


async def test_a_webhook_whose_consumer_is_gone_gets_another(world: World, receiver: Receiver) -> None:
    await world.create(receiver.url)
    await world.webhooks.stop()
    await world.consumers.delete("p", "h")
    await world.close()
    await world.open()
    await world.publish()
    await until(lambda: world_has(receiver, 1), "the event")


async def world_has(receiver: Receiver, count: int) -> bool:
    return len(receiver.requests) >= count


@pytest.mark.parametrize(
    ("state", "sent"), [("vendor=1", {"tracestate": "vendor=1"}), ("a=1\r\nx-injected: 1", {}), ("ü=1", {})]
)
async def test_the_trace_of_an_event_is_sent_with_it(
    world: World, receiver: Receiver, state: str, sent: dict[str, str]
) -> None:
    await world.create(receiver.url)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = Event(event_type="e", publisher="ann", topic="t", traceparent=trace, tracestate=state)
    await world.bus.publish(Outgoing("p", event))
    await until(lambda: world_has(receiver, 1), "the event")
    headers = {name.lower(): value for name, value in receiver.requests[0].headers.items()}
    expected = {"traceparent": trace} | sent
    assert {name: headers[name] for name in ("traceparent", "tracestate", "x-injected") if name in headers} == expected


async def test_settings_that_a_later_version_would_choose_otherwise_are_kept(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create(receiver.url)
    await world.close()
    monkeypatch.setattr("cco_sidecar.bus.webhooks.registry._SPARE_SECONDS", 60)
    await world.open()
    assert world.consumers.find("p", "h").record.settings.ack_wait_seconds == 15


async def test_without_its_key_a_webhook_rests_and_loses_nothing(world: World, receiver: Receiver) -> None:
    await world.create(receiver.url)
    key = world.directory.parent / f"{world.directory.name}.key"
    right = key.read_text()
    await world.close()
    key.write_text("00" * 32)
    await world.open()
    await world.publish()
    shown = await world.webhooks.get("p", "h")
    assert shown.paused and "credentials key" in shown.paused_reason
    # Changing something else does not make the pause permanent.
    await world.webhooks.update("p", "h", receiver.url + "?x", None)
    with pytest.raises(SidecarError, match="was not encrypted with the key"):
        await world.webhooks.test("p", "h")
    await world.close()
    key.write_text(right)
    await world.open()
    await until(lambda: world_has(receiver, 1), "the event")
    assert not (await world.webhooks.get("p", "h")).paused


async def test_a_lost_key_is_not_replaced_while_webhooks_need_it(world: World, receiver: Receiver) -> None:
    await world.create(receiver.url)
    (world.directory.parent / f"{world.directory.name}.key").unlink()
    with pytest.raises(SidecarError, match="cannot be read; restore it"):
        await world.create(receiver.url, "another")


async def test_a_webhook_that_cannot_be_stored_leaves_no_consumer(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(stored: object) -> None:
        raise internal("STR_001", "the disk is full")

    monkeypatch.setattr(world.stores.webhooks, "put", broken)
    with pytest.raises(SidecarError, match="disk is full"):
        await world.create(receiver.url)
    assert world.consumers.of("p") == [] and await world.webhooks.of("p") == []


async def test_nobody_using_it_for_long_deletes_no_webhook(world: World, receiver: Receiver) -> None:
    await world.create(receiver.url)
    await world.webhooks.update("p", "h", None, True)
    await until(lambda: no_workers(world), "the pause")
    world.consumers.find("p", "h").record.used_at.FromSeconds(0)
    await world.consumers.sweep()
    assert [each.name for each in await world.webhooks.of("p")] == ["h"] and world.consumers.find("p", "h")


async def no_workers(world: World) -> bool:
    return not world.consumers.find("p", "h").snapshot(whole=False).workers


async def test_missed_events_are_told_once(world: World, receiver: Receiver) -> None:
    world.settings = Settings(max_events=10)
    await world.close()
    await world.open()
    await world.create(receiver.url)
    await world.webhooks.update("p", "h", None, True)
    await until(lambda: no_workers(world), "the pause")
    await world.publish(600)
    await world.webhooks.update("p", "h", None, False)
    await until(lambda: settled(world), "the rest")
    told = [int(each.headers["cco-missed-events"]) for each in receiver.requests if "cco-missed-events" in each.headers]
    assert len(told) == 1 and told[0] + len(receiver.requests) == 600


async def settled(world: World) -> bool:
    status = await world.status()
    return status.lag == 0 and status.in_flight_count == 0 and status.succeeded > 0


async def test_a_failure_of_the_bus_is_waited_for(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client would connect again; here nobody else does."""
    await world.create(receiver.url)
    await world.webhooks.update("p", "h", None, True)
    await until(lambda: no_workers(world), "the pause")
    real, failures = world.bus.follow, iter([True, True])

    def failing(*arguments: Any, **named: Any) -> Any:
        if next(failures, False):
            raise internal("STR_002", "too many open files")
        return real(*arguments, **named)

    await world.publish(3)
    monkeypatch.setattr(world.bus, "follow", failing)
    await world.webhooks.update("p", "h", None, False)
    await until(lambda: world_has(receiver, 3), "the events")
    assert "too many open files" in (await world.status()).last_failure


async def test_a_late_410_of_the_former_url_does_not_pause_the_next(world: World, receiver: Receiver) -> None:
    answered = threading.Event()
    receiver.answer = lambda request: (410 if answered.wait(30) else 500, {})
    with receiving() as other:
        await world.create(receiver.url)
        await world.publish()
        await until(lambda: world_has(receiver, 1), "the request")
        await world.webhooks.update("p", "h", other.url, None)
        answered.set()
        await until(lambda: world_has(other, 1), "the request to the next URL")
        assert not (await world.webhooks.get("p", "h")).paused


async def test_an_unexpected_failure_counts_as_an_attempt(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("cco_sidecar.bus.webhooks.sender.Sender.post", broken)
        await world.create(receiver.url)
        await world.publish()
        await until(lambda: failed(world), "the failure")
    await until(lambda: world_has(receiver, 1), "the next attempt")


async def failed(world: World) -> bool:
    return bool((await world.status()).failed)


async def test_webhooks_that_always_fail_do_not_feed_each_other(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.create("http://127.0.0.1:1/", name, max_deliveries=1)
    await world.publish()

    async def quiet() -> bool:
        statuses = [await world.status(name) for name in ("a", "b", "c")]
        return all(each.lag == 0 and each.in_flight_count == 0 and each.failed == 3 for each in statuses)

    # The event, and what is said of the two others' dead letters.
    await until(quiet, "the end")
    assert await world.stores.consumers.letter_count("p", "a") == 3


async def test_a_slow_receiver_does_not_delay_another(world: World, receiver: Receiver) -> None:
    answered = threading.Event()

    def wait(request: Request) -> tuple[int, dict[str, str]]:
        answered.wait(30)
        return 204, {}

    with receiving() as slow:
        slow.answer = wait
        for number in range(14):
            await world.create(slow.url, f"slow-{number}")
        await world.publish(8)
        await until(lambda: world_has(slow, 14 * 8), "all requests at once")
        await world.create(receiver.url, "healthy", timeout_seconds=1)
        await world.publish()
        await until(lambda: world_has(receiver, 1), "the healthy one")
        assert (await world.status("healthy")).failed == 0
        answered.set()


@pytest.mark.parametrize(("attempt", "most"), [(1, 5), (2, 10), (5, 80), (50, 3600)])
def test_the_delay_doubles_and_is_shortened_at_random(attempt: int, most: float) -> None:
    found = {delay_of(5, attempt, None) for _ in range(200)}
    assert most / 2 <= min(found) < most * 0.6 and most * 0.9 < max(found) <= most


@pytest.mark.parametrize(("asked", "least", "most"), [(0, 2.5, 5), (60, 60, 60), (10**9, 3600, 3600)])
def test_a_receiver_asks_for_more_time_not_for_less(asked: float, least: float, most: float) -> None:
    assert all(least <= delay_of(5, 1, asked) <= most for _ in range(50))
