"""The contract of a SessionStore. See contract.py."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.storage.contract import OpenStores

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.sessions import SessionChange
from orchestra.v1 import event_service_pb2 as event_pb
from orchestra.v1 import session_service_pb2 as session_pb
from orchestra.v1.session_service_pb2 import Session, SessionEvent

_numbers = itertools.count(1)


def _session(**more: object) -> Session:
    number = next(_numbers)
    made = Session(session_id=f"ses_{number}", name=f"name-{number}", project_id="p")
    made.MergeFrom(Session(**more))  # type: ignore[arg-type]
    return made


def _announced(session: Session, events: object) -> list[event_pb.Event]:
    return [event_pb.Event(event_type="session_created", correlation_id=session.session_id)]


async def _add_session(stores: Stores, **more: object) -> Session:
    made = _session(**more)
    assert await stores.sessions.add(SessionChange(made)) is not None
    return made


def _message(text: str, role: str = "assistant") -> SessionEvent:
    event = SessionEvent(event_type="message", role=role)
    event.content.add(type="text", text=text)
    return event


async def _append(stores: Stores, session: Session, *events: SessionEvent) -> list[int]:
    changed = await stores.sessions.change(session.session_id, lambda found: SessionChange(found, events))
    assert changed is not None
    return [event.sequence for event in changed.events]


async def test_a_session_is_found_by_id_name_and_agent(open_stores: OpenStores) -> None:
    one = await open_stores()
    made = _session(agent_id="a-1")
    added = await one.sessions.add(SessionChange(made, (), _announced))
    assert added is not None and [each.event.event_type for each in added.announcements] == ["session_created"]
    assert [each.number for each in await one.outbox.pending()] == [each.number for each in added.announcements]
    again = await open_stores()
    for key in (made.session_id, made.name):
        assert await again.sessions.find("p", key) == made
        assert await again.sessions.find("q", key) is None
    assert await again.sessions.by_id(made.session_id) == made and await again.sessions.by_agent("a-1") == made
    assert await again.sessions.by_agent("a-2") is None and await again.sessions.by_id("none") is None


async def test_a_name_is_taken_once_in_its_project(open_stores: OpenStores) -> None:
    one = await open_stores()
    made = await _add_session(one, name="same")
    tries = [one.sessions.add(SessionChange(_session(name="raced"))) for _ in range(5)]
    assert sum(each is not None for each in await asyncio.gather(*tries)) == 1
    assert await one.sessions.add(SessionChange(_session(name="same"))) is None
    assert await one.sessions.add(SessionChange(_session(session_id=made.session_id))) is None
    assert await one.sessions.add(SessionChange(_session(name="same", project_id="q"))) is not None
    # No name is another's id: both find a session.
    assert await one.sessions.add(SessionChange(_session(name=made.session_id))) is None
    assert await one.sessions.add(SessionChange(_session(session_id="same"))) is None
    other = await _add_session(one)

    def rename(session: Session) -> SessionChange:
        session.name = "same"
        return SessionChange(session)

    with pytest.raises(SidecarError, match="already a session 'same'") as refused:
        await one.sessions.change(other.session_id, rename)
    assert refused.value.code == "SES_002" and await one.sessions.by_id(other.session_id) == other


async def test_events_are_numbered_and_read_in_order(open_stores: OpenStores) -> None:
    one = await open_stores()
    made = await _add_session(one)
    assert await _append(one, made, _message("a"), _message("b")) == [1, 2]
    assert await _append(one, made, _message("c", "user")) == [3]
    again = await open_stores()
    events = await again.sessions.events(made.session_id)
    assert [(each.sequence, each.session_name, each.content[0].text) for each in events] == [
        (1, made.name, "a"),
        (2, made.name, "b"),
        (3, made.name, "c"),
    ]
    assert [each.sequence for each in await again.sessions.events(made.session_id, after=1, limit=1)] == [2]
    assert await again.sessions.events(made.session_id, after=3) == []
    last = await again.sessions.last_message(made.session_id)
    assert last is not None and last.content[0].text == "b"
    assert await again.sessions.last_message("none") is None
    found = await again.sessions.by_id(made.session_id)
    assert found is not None and found.event_count == 3
    assert await again.sessions.stored_bytes("p") >= sum(each.ByteSize() for each in events)
    assert await again.sessions.stored_bytes("q") == 0


async def test_concurrent_changes_lose_nothing(open_stores: OpenStores) -> None:
    one = await open_stores()
    made = await _add_session(one)
    numbers = await asyncio.gather(*(_append(one, made, _message(str(n))) for n in range(20)))
    assert sorted(itertools.chain(*numbers)) == list(range(1, 21))
    assert len(await one.sessions.events(made.session_id)) == 20


async def test_a_change_that_is_none_changes_nothing(open_stores: OpenStores) -> None:
    one = await open_stores()
    made = await _add_session(one)
    assert await one.sessions.change(made.session_id, lambda _: None) is None
    assert await one.sessions.change("none", SessionChange) is None
    assert await one.sessions.by_id(made.session_id) == made


async def test_a_deleted_session_leaves_nothing(open_stores: OpenStores) -> None:
    one = await open_stores()
    made, kept = await _add_session(one), await _add_session(one)
    for each in (made, kept):
        await _append(one, each, _message("a"))
    announced = await one.sessions.delete(made.session_id, lambda _: event_pb.Event(event_type="session_deleted"))
    assert announced is not None and announced.event.event_type == "session_deleted"
    assert await one.sessions.by_id(made.session_id) is None and await one.sessions.events(made.session_id) == []
    assert await one.sessions.delete(made.session_id, lambda _: event_pb.Event()) is None
    assert len(await one.sessions.events(kept.session_id)) == 1
    # The name is free once more.
    assert await one.sessions.add(SessionChange(_session(name=made.name))) is not None


async def test_pages_and_what_is_open_or_due(open_stores: OpenStores) -> None:
    one = await open_stores()
    finished = session_pb.SESSION_STATUS_FINISHED
    first = await _add_session(one, status=finished)
    child = await _add_session(one, parent_session_id=first.session_id, status=finished)
    running = await _add_session(one, parent_session_id=first.session_id)
    await _add_session(one, project_id="q")

    def opened(session: Session) -> SessionChange:
        session.feed.open = True
        return SessionChange(session)

    def due(session: Session) -> SessionChange:
        session.feed.callback_due = True
        return SessionChange(session)

    await one.sessions.change(running.session_id, opened)
    await one.sessions.change(child.session_id, due)
    page = await one.sessions.page("p")
    names = [each.session.name for each in page]
    assert names == [running.name, child.name, first.name]
    assert [each.session.name for each in await one.sessions.page("p", before=page[1].number)] == [first.name]
    assert [each.session.name for each in await one.sessions.page("p", limit=1)] == [running.name]
    assert [each.session.name for each in await one.sessions.page("p", status=finished)] == [child.name, first.name]
    assert [each.session.name for each in await one.sessions.page("p", parent=first.session_id)] == names[:2]
    assert [each.name for each in await one.sessions.open()] == [child.name, running.name]
    assert [each.name for each in await one.sessions.due(first.session_id)] == [child.name]
    assert await one.sessions.due(child.session_id) == []


async def test_the_last_message_is_of_the_last_run_and_of_no_sub_agent(stores: Stores) -> None:
    made = await _add_session(stores)
    start = SessionEvent(event_type="session_start")
    await _append(stores, made, start, _message("first"))
    sub = _message("of a sub-agent")
    sub.sub_agent = True
    await _append(stores, made, sub)
    answered = await stores.sessions.last_message(made.session_id)
    assert answered is not None and answered.content[0].text == "first"
    await _append(stores, made, SessionEvent(event_type="session_start"))
    assert await stores.sessions.last_message(made.session_id) is None


async def test_the_size_of_events_is_known_after_each_change(stores: Stores) -> None:
    one, two = [await _add_session(stores) for _ in range(2)]
    for session in (one, two):
        await _append(stores, session, _message("x" * 1000))
        assert await stores.sessions.stored_bytes("p") >= 1000
    both = await stores.sessions.stored_bytes("p")
    await stores.sessions.delete(one.session_id, lambda _: event_pb.Event(event_type="session_deleted"))
    assert 1000 <= await stores.sessions.stored_bytes("p") < both - 1000


async def test_a_session_is_not_renamed_to_the_id_of_another(stores: Stores) -> None:
    one, two = [await _add_session(stores) for _ in range(2)]

    def renamed(found: Session) -> SessionChange:
        found.name = two.session_id
        return SessionChange(found)

    with pytest.raises(SidecarError) as refused:
        await stores.sessions.change(one.session_id, renamed)
    assert refused.value.code == "SES_002"
