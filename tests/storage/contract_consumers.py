"""The contract of a ConsumerStore: durable consumers and their dead letters. See contract.py."""

from __future__ import annotations

import itertools

import pytest
from tests.storage.contract import OpenStores

from cco_sidecar.storage.base import PAGE_BYTES, Stores
from cco_sidecar.storage.event_stores import ConsumerChange
from orchestra.v1 import consumer_service_pb2 as pb
from orchestra.v1 import event_service_pb2 as event_pb

_letters = itertools.count(1)


def consumer(name: str = "c", project: str = "p", **more: object) -> pb.Consumer:
    return pb.Consumer(name=name, project_id=project, created_by="agent-1", cursor="evt-00000000-0000000001", **more)  # type: ignore[arg-type]


def letter(name: str = "c", project: str = "p", text: str = "") -> pb.DeadLetter:
    number = next(_letters)
    made = pb.DeadLetter(dead_letter_id=f"dlt-{number}", project_id=project, consumer=name, attempts=5)
    made.event.CopyFrom(event_pb.Event(event_id=f"evt-00000000-{number:010d}", event_type="x"))
    made.event.data.update({"text": text})
    return made


async def bury(stores: Stores, *letters: pb.DeadLetter, announce: bool = True) -> None:
    events = [event_pb.Event(event_type="dead_lettered") if announce else None for _ in letters]
    owner = consumer(letters[0].consumer, letters[0].project_id)
    for announced in await stores.consumers.save(ConsumerChange(owner, letters, [], events)):
        await stores.outbox.done(announced.number)


async def test_a_consumer_is_stored_with_what_is_in_flight(open_stores: OpenStores) -> None:
    stores = await open_stores()
    await stores.consumers.add(consumer())
    await stores.consumers.add(consumer("c", "q"))
    changed = consumer(in_flight=[pb.InFlight(event_id="evt-00000000-0000000002", attempt=3, held_by="agent-2")])
    assert await stores.consumers.save(ConsumerChange(changed, [], [], [])) == []
    assert list(await (await open_stores()).consumers.all()) == [changed, consumer("c", "q")]


async def test_a_dead_letter_and_its_event_are_stored_together(stores: Stores) -> None:
    await stores.consumers.add(consumer())
    first, second = letter(), letter()
    announced = await stores.consumers.save(
        ConsumerChange(consumer(), [first, second], [], [event_pb.Event(event_type="dead_lettered"), None])
    )
    assert [each.event.event_type for each in announced] == ["dead_lettered"]
    assert list(await stores.outbox.pending()) == list(announced)
    assert await stores.consumers.letters("p", "c", []) == [first, second]
    assert await stores.consumers.letters("p", "c", [second.dead_letter_id]) == [second]
    assert await stores.consumers.letter("p", first.dead_letter_id) == first
    assert await stores.consumers.letter("q", first.dead_letter_id) is None
    await stores.outbox.done(announced[0].number)


async def test_a_replayed_letter_is_changed_and_then_deleted(stores: Stores) -> None:
    await stores.consumers.add(consumer())
    made = letter()
    await bury(stores, made)
    made.replaying = True
    await bury(stores, made, announce=False)
    assert await stores.consumers.letters("p", "c", []) == [made]
    await stores.consumers.save(ConsumerChange(consumer(), [], [made.dead_letter_id], []))
    assert await stores.consumers.letter_count("p", "c") == 0


async def test_letters_are_paged_newest_first(stores: Stores) -> None:
    for name in ("c", "d"):
        await stores.consumers.add(consumer(name))
    made = [letter("c"), letter("d"), letter("c")]
    for each in made:
        await bury(stores, each)
    page = await stores.consumers.letter_page("p", "", limit=2)
    assert [stored.letter for stored in page] == [made[2], made[1]]
    rest = await stores.consumers.letter_page("p", "", before=page[-1].number)
    assert [stored.letter for stored in rest] == [made[0]]
    assert [stored.letter for stored in await stores.consumers.letter_page("p", "c")] == [made[2], made[0]]
    assert await stores.consumers.letter_page("q", "") == []


async def test_a_page_of_letters_is_bounded(stores: Stores) -> None:
    await stores.consumers.add(consumer())
    await bury(stores, *(letter(text="x" * (PAGE_BYTES // 3)) for _ in range(4)))
    assert len(await stores.consumers.letter_page("p", "c")) == 2


async def test_the_oldest_letters_make_room(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cco_sidecar.storage.sql.consumers.MAX_LETTER_BYTES", 5000)
    for project in ("p", "q"):
        await stores.consumers.add(consumer(project=project))
    made = [letter(text="x" * 1500) for _ in range(5)]
    other = letter(project="q", text="x" * 1500)
    await bury(stores, other)
    for each in made:
        await bury(stores, each)
    assert await stores.consumers.letters("p", "c", []) == made[2:]
    assert await stores.consumers.letters("q", "c", []) == [other]


async def test_a_deleted_consumer_takes_its_letters_along_and_is_not_saved_again(stores: Stores) -> None:
    for name in ("c", "d"):
        await stores.consumers.add(consumer(name))
    kept = letter("d")
    await bury(stores, letter("c"), letter("c"))
    await bury(stores, kept)
    assert await stores.consumers.delete("p", "c") == 2
    change = ConsumerChange(consumer("c"), [letter("c")], [], [event_pb.Event(event_type="dead_lettered")])
    assert await stores.consumers.save(change) == []
    assert [stored.letter for stored in await stores.consumers.letter_page("p", "")] == [kept]
    assert [each.name for each in await stores.consumers.all()] == ["d"]
    assert await stores.consumers.delete_letter("p", kept.dead_letter_id)
    assert not await stores.consumers.delete_letter("p", kept.dead_letter_id)
