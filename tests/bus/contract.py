"""The contract of every EventBus. A backend's test module imports these tests and provides the fixture ``bus``."""

from __future__ import annotations

import asyncio

import pytest

from cco_sidecar.bus.base import Batch, EventBus, Outgoing, SubscriptionKey
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import SidecarError
from orchestra.v1.event_service_pb2 import Event, SubscribeResponse

ALL = SubscriptionKey()


def event(event_type: str = "x", **data: object) -> Event:
    made = Event(event_type=event_type, topic="t", publisher="me", correlation_id="c")
    made.data.update(data)
    return made


async def publish(bus: EventBus, event_type: str = "x", project: str = "p", **data: object) -> str:
    return (await bus.publish(Outgoing(project, event(event_type, **data)))).event_id


async def read(bus: EventBus, since: str, key: SubscriptionKey = ALL, project: str = "p", limit: int = 1000) -> Batch:
    start = await bus.start_of(project, since, None)
    return await bus.wait(project, key, start, "reader", timeout=0, limit=limit, since=since)


def ids(batch: Batch) -> list[str]:
    return [entry.event.event_id for entry in batch.entries]


async def test_every_follower_gets_every_event_once_and_in_order(bus: EventBus) -> None:
    seen: list[list[str]] = [[] for _ in range(40)]

    async def follow(number: int) -> None:
        key = SubscriptionKey(filter=f"n:{number % 4}") if number % 2 else ALL
        async for batch in bus.follow("p", key, await bus.start_of("p", "0", None), f"reader-{number}"):
            seen[number] += ids(batch)

    readers = [asyncio.create_task(follow(number)) for number in range(40)]
    published: list[tuple[int, str]] = []

    async def writer(number: int) -> None:
        for turn in range(4):
            n = (number + turn) % 4
            published.append((n, await publish(bus, n=n)))

    await asyncio.gather(*map(writer, range(20)))
    expected = sorted(published, key=lambda pair: pair[1])
    while min(map(len, seen)) < 20:
        await asyncio.sleep(0)
    bus.stop_readers()
    await asyncio.gather(*readers)
    for number, got in enumerate(seen):
        wanted = [event_id for n, event_id in expected if number % 2 == 0 or n == number % 4]
        assert got == wanted


async def test_an_event_has_the_same_id_and_time_everywhere(bus: EventBus) -> None:
    heard: list[str] = []
    bus.listen(lambda project, entry: heard.append(f"{project}/{entry.event_id}"))
    published = await bus.publish(Outgoing("p", event(n=1)))
    (entry,) = (await read(bus, "0")).entries
    assert entry.event_id == entry.event.event_id == entry.fields["event_id"] == published.event_id
    assert entry.event.timestamp == published.timestamp and entry.text("n") is None
    assert heard == [f"p/{published.event_id}"]
    assert await bus.cursor("p", entry.seq) == published.event_id


async def test_events_published_together_keep_their_order(bus: EventBus) -> None:
    published = await bus.publish_all([Outgoing("p" if n % 2 else "q", event(n=n)) for n in range(10)])
    for project, rest in (("q", 0), ("p", 1)):
        assert ids(await read(bus, "0", project=project)) == [each.event_id for each in published[rest::2]]


async def test_one_oversized_event_refuses_the_whole_batch(bus: EventBus) -> None:
    with pytest.raises(SidecarError) as caught:
        await bus.publish_all([Outgoing("p", event()), Outgoing("p", event(text="x" * 300_000))])
    assert caught.value.code == "EVT_002"
    assert not (await read(bus, "0")).entries


async def test_pages_are_addressed_by_number(bus: EventBus) -> None:
    published = [await publish(bus, n=n) for n in range(5)]
    first = await bus.read("p", 0, 3)
    rest = await bus.read("p", first.entries[-1].seq, 3)
    assert [entry.event_id for entry in (*first.entries, *rest.entries)] == published
    assert (first.trimmed, first.head) == (0, rest.entries[-1].seq)
    assert (await bus.read("p", first.head, 3)).entries == []


async def test_a_published_event_is_recognised_by_its_content(bus: EventBus) -> None:
    await publish(bus, "done", n=1)
    assert await bus.is_published("p", event("done", n=1))
    for other in (event("done", n=2), event("other", n=1)):
        assert not await bus.is_published("p", other)
    assert not await bus.is_published("q", event("done", n=1))


async def test_a_project_sees_no_events_of_another(bus: EventBus) -> None:
    await publish(bus, project="p")
    assert ids(await read(bus, "0", project="q")) == []
    assert "p" in await bus.projects()


async def test_a_reader_waits_for_the_types_it_asked_for(bus: EventBus) -> None:
    start = await bus.start_of("p", "", None)
    key = SubscriptionKey(frozenset({"rare"}))
    waiting = asyncio.create_task(bus.wait("p", key, start, "reader", timeout=30, limit=10))
    while not bus.has_reader("reader"):
        await asyncio.sleep(0)
    await publish(bus, "common")
    rare = await publish(bus, "rare")
    assert ids(await waiting) == [rare] and not bus.has_reader("reader")


async def test_a_cursor_of_an_emptied_storage_is_a_gap(bus: EventBus) -> None:
    new = await publish(bus)
    batch = await read(bus, "evt-00000000-0000000007")
    assert batch.gap is not None and batch.gap.missed == 0 and ids(batch) == [new]


@pytest.mark.parametrize("since", ["evt", "evt-xyz-1", "1", "evt-00000000-1", "'; drop"])
async def test_an_invalid_cursor_is_refused(bus: EventBus, since: str) -> None:
    with pytest.raises(SidecarError) as caught:
        await bus.start_of("p", since, None)
    assert caught.value.code == "EVT_002"


async def test_an_oversized_event_is_refused(bus: EventBus) -> None:
    with pytest.raises(SidecarError) as caught:
        await publish(bus, text="x" * 300_000)
    assert caught.value.code == "EVT_002"


async def test_a_closed_bus_refuses_events(bus: EventBus) -> None:
    await bus.close()
    with pytest.raises(SidecarError) as caught:
        await publish(bus)
    assert caught.value.code == "EVT_001" and bus.draining


@pytest.mark.parametrize("refuses", [0, 1, 2])
async def test_what_a_sink_does_not_take_is_returned_to_its_reader(bus: EventBus, refuses: int) -> None:
    """Three readers at the same position; one of them takes nothing by its sink."""
    got: list[list[str]] = [[] for _ in range(3)]
    returned: list[list[str]] = [[] for _ in range(3)]

    async def follow(number: int) -> None:
        following = bus.follow("p", ALL, await bus.start_of("p", "0", None), f"reader-{number}")

        def take(wire: Encoded) -> bool:
            if number == refuses:
                return False
            got[number] += [each.event_id for each in SubscribeResponse.FromString(wire.SerializeToString()).events]
            return True

        following.sink = take
        async for batch in following:
            returned[number] += ids(batch)
            got[number] += ids(batch)

    readers = [asyncio.create_task(follow(number)) for number in range(3)]
    while sum(bus.has_reader(f"reader-{number}") for number in range(3)) < 3:
        await asyncio.sleep(0)
    published = []
    for n in range(5):
        published.append(await publish(bus, n=n))
        async with asyncio.timeout(10):
            while min(map(len, got)) <= n:
                await asyncio.sleep(0)
    bus.stop_readers()
    await asyncio.gather(*readers)
    assert got == [published] * 3
    assert [bool(each) for each in returned] == [number == refuses for number in range(3)]


# -- idempotency keys and conditions ---------------------------------------------------------------------


def keyed(key: str, publisher: str = "me", **data: object) -> Outgoing:
    made = event(**data)
    made.idempotency_key, made.publisher = key, publisher
    return Outgoing("p", made)


async def test_a_repeated_key_publishes_once(bus: EventBus) -> None:
    together = await asyncio.gather(*(bus.publish(keyed("k", n=1)) for _ in range(5)))
    later = await bus.publish(keyed("k", n=1))
    assert {each.event_id for each in [*together, later]} == {together[0].event_id}
    assert [each.duplicate for each in [*together, later]] == [False] + [True] * 5
    assert later.timestamp == together[0].timestamp
    assert ids(await read(bus, "0")) == [later.event_id]


async def test_keys_belong_to_their_publisher(bus: EventBus) -> None:
    one, two = await bus.publish(keyed("k", "one")), await bus.publish(keyed("k", "two"))
    assert one.event_id != two.event_id and not two.duplicate


async def test_a_key_that_was_used_for_another_event_is_a_conflict(bus: EventBus) -> None:
    await bus.publish(keyed("k", n=1))
    with pytest.raises(SidecarError, match="was used for another event") as refused:
        await bus.publish(keyed("k", n=2))
    assert refused.value.code == "EVT_003"
    with pytest.raises(SidecarError, match="was used for another event"):
        await bus.publish_all([Outgoing("p", event(n=7)), keyed("k", n=2)])
    assert len(ids(await read(bus, "0"))) == 1, "a batch is refused as a whole"


async def test_a_caller_that_leaves_does_not_take_the_event_along(bus: EventBus) -> None:
    # What an earlier process stored is known from here on.
    before = await bus.publish(keyed("before"))
    first = asyncio.ensure_future(bus.publish(keyed("k")))
    second = asyncio.ensure_future(bus.publish(keyed("k")))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).duplicate
    assert ids(await read(bus, "0")) == [before.event_id, (await second).event_id]


async def test_batches_keep_their_order_whether_their_events_have_keys_or_not(bus: EventBus) -> None:
    await bus.publish(keyed("old", n=0))
    batch = [keyed("a", n=1), Outgoing("p", event(n=2)), keyed("b", n=3), keyed("old", n=0), Outgoing("p", event(n=4))]
    published = await bus.publish_all(batch)
    assert [each.duplicate for each in published] == [False, False, False, True, False]
    got = [entry.fields["data"]["n"] for entry in (await read(bus, "0")).entries]
    assert got == [0, 1, 2, 3, 4]


async def test_a_batch_with_one_key_for_two_events_is_refused(bus: EventBus) -> None:
    with pytest.raises(SidecarError, match="was used for another event"):
        await bus.publish_all([keyed("k", n=1), keyed("k", n=2)])
    first, again = await bus.publish_all([keyed("k", n=1), keyed("k", n=1)])
    assert again.duplicate and again.event_id == first.event_id
    assert ids(await read(bus, "0")) == [first.event_id]


async def test_an_event_is_published_only_after_the_expected_one(bus: EventBus) -> None:
    def after(last: str, topic: str = "t") -> Outgoing:
        made = event()
        made.topic = topic
        return Outgoing("p", made, expected_last=last)

    first = await bus.publish(after("0"))
    await bus.publish(after("0", topic="another"))
    second = await bus.publish(after(first.event_id))
    for wrong in ("0", first.event_id):
        with pytest.raises(SidecarError, match=second.event_id) as refused:
            await bus.publish(after(wrong))
        assert refused.value.code == "EVT_003" and refused.value.details["last_event_id"] == second.event_id


async def test_of_several_that_expect_the_same_event_one_wins(bus: EventBus) -> None:
    last = await publish(bus)

    def attempt(n: int) -> Outgoing:
        return Outgoing("p", event(n=n), expected_last=last)

    attempts = await asyncio.gather(*(bus.publish(attempt(n)) for n in range(10)), return_exceptions=True)
    won = [each for each in attempts if not isinstance(each, BaseException)]
    lost = [each for each in attempts if isinstance(each, SidecarError) and each.code == "EVT_003"]
    assert len(won) == 1 and len(lost) == 9
    assert len(ids(await read(bus, "0"))) == 2
