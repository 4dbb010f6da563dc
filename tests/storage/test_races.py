"""What two sidecars do to the same records at the same time. One is held up in the middle of its transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support import postgres

from cco_sidecar.core.announcements import of_result
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.terms import terms_of
from cco_sidecar.storage.sessions import SessionChange
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.postgres import PostgreSQL
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_COMPLETED, AGENT_STATUS_RUNNING, Agent, SpawnAgentRequest
from orchestra.v1.document_service_pb2 import (
    DOCUMENT_RELATION_TYPE_PARENT_CHILD,
    DOCUMENT_RELATION_TYPE_RELATED,
    Document,
    DocumentRelation,
    DocumentRevision,
)
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.knowledge_service_pb2 import (
    KNOWLEDGE_KIND_LESSON,
    KNOWLEDGE_STATUS_APPROVED,
    KNOWLEDGE_STATUS_PENDING,
    KnowledgeEntry,
)
from orchestra.v1.result_service_pb2 import Result
from orchestra.v1.session_service_pb2 import Session, SessionEvent
from orchestra.v1.system_service_pb2 import ClusterMember

_WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")


class Side:
    """One of two sidecars."""

    def __init__(self, url: str, name: str) -> None:
        self.database = Database(PostgreSQL(url), sidecar_id=name)
        self.stores = SqlStores(self.database, sidecar_id=name, shared=True)

    @contextmanager
    def held(self, after: str) -> Iterator[tuple[Flag, Flag]]:
        """Its next statement with this text is followed by a pause. Yields flags: it has begun, and it may end."""
        begun, release = Flag(), Flag()

        def pause(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if after in statement and not begun.is_set():
                begun.set()
                release.wait(20)

        sa.event.listen(self.database._engine, "after_cursor_execute", pause)
        try:
            yield begun, release
        finally:
            release.set()
            sa.event.remove(self.database._engine, "after_cursor_execute", pause)


class Two:
    def __init__(self, url: str) -> None:
        self.a, self.b = Side(url, "a"), Side(url, "b")
        self._watching = Database(PostgreSQL(url))

    async def race(self, after: str, first: Awaitable[Any], second: Awaitable[Any]) -> list[Any]:
        """``first``, by a, is held after a statement until ``second``, by b, is done or waits for it. Returns what
        both return or raise."""
        with self.a.held(after) as (begun, release):
            one = asyncio.ensure_future(first)
            assert await asyncio.to_thread(begun.wait, 20), f"no statement with {after!r}"
            other = asyncio.ensure_future(second)
            async with asyncio.timeout(20):
                while not other.done() and not await self._watching.read(lambda c: c.execute(_WAITING).scalar()):
                    await asyncio.sleep(0.01)
            release.set()
            return await asyncio.gather(one, other, return_exceptions=True)

    def close(self) -> None:
        for each in (self.a.database, self.b.database, self._watching):
            each.close()


@pytest.fixture
def two(postgres_url: str, tmp_path: Path) -> Iterator[Two]:
    made = Two(postgres.database_of(postgres_url, str(tmp_path)))
    yield made
    made.close()


def happened() -> Event:
    return Event(event_type="x")


async def with_documents(two: Two, *ids: str) -> None:
    for each in ids:
        document = Document(document_id=each, project_id="p", filename=each, revision=1, size_bytes=5, total_chars=5)
        await two.a.stores.documents.add(document, b"hello", DocumentRevision(revision=1), happened(), 10**9)


def related(relation_id: str, one: str, other: str, kind: Any = DOCUMENT_RELATION_TYPE_RELATED) -> DocumentRelation:
    return DocumentRelation(relation_id=relation_id, from_document_id=one, to_document_id=other, type=kind)


def learned(entry_id: str, text: str) -> KnowledgeEntry:
    return KnowledgeEntry(
        entry_id=entry_id,
        project_id="p",
        issue_id="i",
        kind=KNOWLEDGE_KIND_LESSON,
        status=KNOWLEDGE_STATUS_PENDING,
        text=text,
    )


def result(result_id: str) -> Result:
    return Result(id=result_id, project_id="p", issue_id="i", agent_type="t")


async def test_results_of_an_issue_are_committed_in_order(two: Two) -> None:
    """Who reads a number has all before it: the next agents are suggested from those."""
    one, other = result("res-1"), result("res-2")
    first, second = await two.race(
        "INSERT INTO results",
        two.a.stores.results.add(one, "", of_result(one)),
        two.b.stores.results.add(other, "", of_result(other)),
    )
    assert second.number > first.number
    assert len(await two.b.stores.results.outcomes("p", "i", before="res-2")) == 1


async def test_the_same_lessons_in_another_order_are_stored_once(two: Two) -> None:
    one, other = result("res-1"), result("res-2")
    lessons = [learned(f"k{number}", f"lesson {number}") for number in (1, 2)]
    again = [learned(f"l{number}", f"lesson {number}") for number in (2, 1)]
    done = await two.race(
        "INSERT INTO knowledge",
        two.a.stores.results.add(one, "", of_result(one), learned=lessons),
        two.b.stores.results.add(other, "", of_result(other), learned=again),
    )
    assert not [each for each in done if isinstance(each, BaseException)]


async def test_an_entry_that_is_approved_stays(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cco_sidecar.storage.sql.knowledge.MAX_PENDING", 2)
    a, b = two.a.stores.knowledge, two.b.stores.knowledge
    for number in range(2):
        await a.add(learned(f"k{number}", f"lesson {number}"))

    def approve(entry: KnowledgeEntry) -> None:
        entry.status = KNOWLEDGE_STATUS_APPROVED

    await two.race("UPDATE knowledge", a.change("p", "k0", approve), b.add(learned("k2", "lesson 2")))
    kept = await b.by_id("p", "k0")
    assert kept is not None and kept.status == KNOWLEDGE_STATUS_APPROVED


async def test_opposite_relations_are_one(two: Two) -> None:
    await with_documents(two, "x", "y")
    done = await two.race(
        "FOR UPDATE",
        two.a.stores.documents.relate(related("r1", "x", "y"), "p", happened()),
        two.b.stores.documents.relate(related("r2", "y", "x"), "p", happened()),
    )
    assert isinstance(done[1], SidecarError) and done[1].code == "DOC_003"
    assert len(await two.a.stores.documents.relations("p", "x")) == 1


async def test_parents_make_no_circle(two: Two) -> None:
    await with_documents(two, "a", "b", "c", "d")
    kind = DOCUMENT_RELATION_TYPE_PARENT_CHILD
    for relation_id, parent, child in (("r1", "b", "c"), ("r2", "d", "a")):
        await two.a.stores.documents.relate(related(relation_id, parent, child, kind), "p", happened())
    done = await two.race(
        "FOR UPDATE",
        two.a.stores.documents.relate(related("r3", "a", "b", kind), "p", happened()),
        two.b.stores.documents.relate(related("r4", "c", "d", kind), "p", happened()),
    )
    assert isinstance(done[1], SidecarError) and "own ancestor" in done[1].message


async def test_a_relation_is_deleted_and_changed_once(two: Two) -> None:
    await with_documents(two, "x", "y")
    a, b = two.a.stores.documents, two.b.stores.documents
    await a.relate(related("r", "x", "y"), "p", happened())
    await two.race(
        "FROM document_relations",
        a.change_relation("p", "r", lambda relation: setattr(relation, "from_note", "one")),
        b.change_relation("p", "r", lambda relation: setattr(relation, "to_note", "two")),
    )
    (found,) = await a.relations("p", "x")
    assert (found.from_note, found.to_note) == ("one", "two")
    done = await two.race(
        "FROM document_relations",
        a.unrelate("p", "r", lambda _: happened()),
        b.unrelate("p", "r", lambda _: happened()),
    )
    assert [each is None for each in done] == [False, True]


async def test_a_document_that_is_deleted_meanwhile_is_not_found(two: Two) -> None:
    await with_documents(two, "x", "y")
    a = two.a.stores.documents
    # Makes the thread and the connection of searches.
    assert len(await a.search("p", terms_of("hello"))) == 2
    begun, release = Flag(), Flag()

    def pause(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "ranked" in statement and not begun.is_set():
            begun.set()
            release.wait(20)

    sa.event.listen(sa.Engine, "after_cursor_execute", pause)
    try:
        searching = asyncio.ensure_future(a.search("p", terms_of("hello")))
        assert await asyncio.to_thread(begun.wait, 20)
        await two.b.stores.documents.delete("p", "x", lambda _: happened())
        release.set()
        assert [each.document.document_id for each in await searching] == ["y"]
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", pause)


async def test_a_deleted_session_leaves_no_event(two: Two) -> None:
    a, b = two.a.stores.sessions, two.b.stores.sessions
    session = Session(session_id="s", name="s", project_id="p")
    await a.add(SessionChange(session))
    one_more = SessionEvent(event_type="message", role="user")
    await two.race(
        "INSERT INTO session_events",
        a.change("s", lambda found: SessionChange(found, [one_more])),
        b.delete("s", lambda _: happened()),
    )
    assert await b.stored_bytes("p") == 0
    added = await b.add(SessionChange(session, [one_more]))
    assert added is not None and added.session.event_count == 1


async def test_a_session_is_deleted_once(two: Two) -> None:
    await two.a.stores.sessions.add(SessionChange(Session(session_id="s", name="s", project_id="p")))
    done = await two.race(
        "FROM sessions",
        two.a.stores.sessions.delete("s", lambda _: happened()),
        two.b.stores.sessions.delete("s", lambda _: happened()),
    )
    assert [each is None for each in done] == [False, True]


async def test_two_sessions_do_not_get_the_same_name(two: Two) -> None:
    a, b = two.a.stores.sessions, two.b.stores.sessions
    await a.add(SessionChange(Session(session_id="s", name="s", project_id="p")))

    def rename(session: Session) -> SessionChange:
        session.name = "same"
        return SessionChange(session)

    added = SessionChange(Session(session_id="t", name="same", project_id="p"))
    done = await two.race("UPDATE sessions", a.change("s", rename), b.add(added))
    assert done[0] is not None and done[1] is None


async def test_an_agent_that_ended_meanwhile_is_not_taken_over(two: Two) -> None:
    running = Agent(agent_id="x", project_id="p", status=AGENT_STATUS_RUNNING, sidecar_id="a")
    await two.a.stores.agents.add(running, SpawnAgentRequest(), created=1)
    (read,) = await two.b.stores.agents.unfinished("a")
    ended = Agent()
    ended.CopyFrom(running)
    ended.status = AGENT_STATUS_COMPLETED
    await two.a.stores.agents.save(ended)
    taken = Agent()
    taken.CopyFrom(read.agent)
    taken.sidecar_id = "b"
    assert not await two.b.stores.agents.move(taken, read.agent)


async def test_revocations_are_found_after_another_process_has_started(two: Two) -> None:
    a, b = two.a.stores.revocations, two.b.stores.revocations
    for number in range(300):
        await a.revoke("sub", str(number), 1.0, 2.0)
    _, seen = await a.since(0)
    b.load(now=100.0)
    await b.revoke("sub", "late", 101.0, 200.0)
    found, _ = await a.since(seen)
    assert "late" in [each.value for each in found]


async def test_a_revocation_never_becomes_weaker(two: Two) -> None:
    await two.a.stores.revocations.revoke("sub", "x", 100.0, 500.0)
    await two.b.stores.revocations.revoke("sub", "x", 95.0, 400.0)
    (found,) = two.a.stores.revocations.load(now=450.0)[0]
    assert found.at == 100.0


async def test_a_follower_that_stands_still_holds_up_no_leader(two: Two) -> None:
    a, b = two.a.stores.cluster, two.b.stores.cluster
    await b.join(ClusterMember(sidecar_id="b"), "b1", "")
    await b.beat(ClusterMember(sidecar_id="b"), "b1")
    await a.join(ClusterMember(sidecar_id="a"), "a1", "")
    with two.a.held("FROM members") as (begun, release):
        beating = asyncio.ensure_future(a.beat(ClusterMember(sidecar_id="a"), "a1"))
        assert await asyncio.to_thread(begun.wait, 20)
        async with asyncio.timeout(3):
            await two.b.stores.handover.set_position("p", 1)
        release.set()
        assert not (await beating).leads
