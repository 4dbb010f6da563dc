"""Sidecars that share a database: who is there, who leads, and what a former leader can still change."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from cco_sidecar.core.announcements import of_result
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.cluster import LEASE_SECONDS, SeenMember, Superseded
from cco_sidecar.storage.event_stores import ConsumerChange
from cco_sidecar.storage.sql.base import Backend
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import leases, members
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_RUNNING, Agent, SpawnAgentRequest
from orchestra.v1.consumer_service_pb2 import Consumer
from orchestra.v1.result_service_pb2 import Result
from orchestra.v1.system_service_pb2 import ClusterMember

Open = Callable[[str], SqlStores]


@pytest.fixture
def database(backend: Backend) -> Iterator[Database]:
    made = Database(backend, sidecar_id="a")
    yield made
    made.close()


@pytest.fixture
def opened(backend: Backend, database: Database) -> Iterator[Open]:
    """Returns the stores of another sidecar on the same database; with SQLite, which has one process, on the same
    connection."""
    own: list[Database] = []

    def open_as(sidecar_id: str) -> SqlStores:
        if not backend.shared:
            return SqlStores(database, sidecar_id=sidecar_id, shared=True)
        own.append(Database(backend, sidecar_id=sidecar_id))
        return SqlStores(own[-1], sidecar_id=sidecar_id, shared=True)

    yield open_as
    for each in own:
        each.close()


def member(sidecar_id: str, **more: object) -> ClusterMember:
    return ClusterMember(sidecar_id=sidecar_id, address=f"{sidecar_id}:3002", **more)  # type: ignore[arg-type]


async def silence(database: Database, sidecar_id: str, seconds: float = LEASE_SECONDS + 1) -> None:
    """The sidecar, and whoever leads, was last heard of so long ago."""
    seen = sa.update(members).where(members.c.sidecar_id == sidecar_id).values(seen=members.c.seen - seconds)
    until = sa.update(leases).values(until=leases.c.until - seconds)
    await database.write(lambda c: (c.execute(seen), c.execute(until)))


def shown(seen: list[SeenMember]) -> list[tuple[str, str, bool]]:
    return [(each.member.sidecar_id, each.incarnation, each.member.alive) for each in seen]


async def test_members_see_each_other_and_one_leads(opened: Open, database: Database) -> None:
    a, b = opened("a").cluster, opened("b").cluster
    assert await a.join(member("a"), "a1", "")
    first = await a.beat(member("a", running=3), "a1")
    assert first.leads and first.leader == "a1" and first.members[0].member.running == 3
    assert await b.join(member("b"), "b1", "")
    second = await b.beat(member("b"), "b1")
    assert not second.leads and second.leader == "a1"
    assert shown(list(second.members)) == [("a", "a1", True), ("b", "b1", True)]
    assert 0 <= second.members[0].member.silent_seconds < LEASE_SECONDS
    assert (await a.beat(member("a"), "a1")).leads, "the lead is kept"


async def test_a_silent_leader_is_followed_by_another_and_can_change_nothing(opened: Open, database: Database) -> None:
    a, b = opened("a"), opened("b")
    for stores, name in ((a, "a"), (b, "b")):
        await stores.cluster.join(member(name), f"{name}1", "")
        await stores.cluster.beat(member(name), f"{name}1")
    consumer = Consumer(project_id="p", name="c")
    await a.consumers.add(consumer)
    with pytest.raises(SidecarError, match="does not lead") as refused:
        await b.consumers.add(Consumer(project_id="p", name="other"))
    assert refused.value.code == "CLU_001"
    await silence(database, "a")
    taken = await b.cluster.beat(member("b"), "b1")
    assert taken.leads and shown(list(taken.members))[0] == ("a", "a1", False)
    # It does not know yet.
    consumer.cursor = "late"
    with pytest.raises(SidecarError, match="does not lead"):
        await a.consumers.save(ConsumerChange(consumer, (), (), ()))
    assert [each.cursor for each in await b.consumers.all()] == [""]
    assert not (await a.cluster.beat(member("a"), "a1")).leads
    await b.consumers.delete("p", "c")


async def test_a_lead_given_up_is_free_at_once(opened: Open, database: Database) -> None:
    a, b = opened("a").cluster, opened("b").cluster
    await a.join(member("a"), "a1", "")
    await a.beat(member("a"), "a1")
    await b.join(member("b"), "b1", "")
    await a.leave("a1", gone=False)
    beat = await b.beat(member("b"), "b1")
    assert beat.leads and shown(list(beat.members))[0] == ("a", "a1", True), "it may come back"
    await a.leave("a1", gone=True)
    assert shown(list(await b.members()))[0] == ("a", "a1", False)


async def test_the_next_process_of_a_sidecar_takes_over_at_once(opened: Open, database: Database) -> None:
    a = opened("a").cluster
    await a.join(member("a"), "a1", "")
    await a.beat(member("a"), "a1")
    again = opened("a").cluster
    assert not await again.join(member("a"), "a2", ""), "there is one"
    assert not await again.join(member("a"), "a2", "other"), "not that one"
    assert await again.join(member("a"), "a2", "a1")
    assert (await again.beat(member("a"), "a2")).leads
    with pytest.raises(Superseded):
        await a.beat(member("a"), "a1")


async def test_a_forgotten_member_joins_again(opened: Open, database: Database) -> None:
    a, b = opened("a").cluster, opened("b").cluster
    await a.join(member("a"), "a1", "")
    await b.join(member("b"), "b1", "")
    await b.beat(member("b"), "b1")
    with pytest.raises(SidecarError, match="does not lead"):
        await a.forget("b1")
    await b.forget("a1")
    with pytest.raises(Superseded):
        await a.beat(member("a"), "a1")
    assert await a.join(member("a"), "a2", "")
    assert shown(list((await a.beat(member("a"), "a2")).members)) == [("a", "a2", True), ("b", "b1", True)]


async def test_events_to_publish_belong_to_a_sidecar_until_it_is_gone(opened: Open, database: Database) -> None:
    a = opened("a")
    await a.cluster.join(member("a"), "a1", "")
    made = Result(id="res-1", project_id="p", issue_id="i", agent_type="t")
    await a.results.add(made, "", of_result(made))
    assert len(await a.outbox.pending()) == 1
    b = opened("b")
    await b.cluster.join(member("b"), "b1", "")
    await b.cluster.beat(member("b"), "b1")
    assert await b.outbox.adopt() == 0 and await b.outbox.pending() == []
    await silence(database, "a")
    await b.cluster.beat(member("b"), "b1")
    assert await b.outbox.adopt() == 1
    assert [each.event.data["result_id"] for each in await b.outbox.pending()] == ["res-1"]
    assert await a.outbox.pending() == []


async def test_an_agent_is_changed_by_the_sidecar_that_runs_it(opened: Open, database: Database) -> None:
    a, b = opened("a"), opened("b")
    agent = Agent(agent_id="x", project_id="p", status=AGENT_STATUS_RUNNING, sidecar_id="a")
    await a.agents.add(agent, SpawnAgentRequest(), created=1)
    assert [each.agent.agent_id for each in await b.agents.unfinished("a")] == ["x"]
    assert await b.agents.unfinished("b") == [] and len(await b.agents.unfinished()) == 1
    moved = Agent()
    moved.CopyFrom(agent)
    moved.sidecar_id, moved.reason = "b", "taken over"
    late = Agent(agent_id="x", project_id="p", sidecar_id="a")
    assert not await b.agents.move(moved, late), "it has changed since it was read"
    await a.cluster.join(member("a"), "a1", "")
    assert not await b.agents.move(moved, agent), "its sidecar is there"
    await silence(database, "a")
    assert await b.agents.move(moved, agent)
    assert not await b.agents.move(moved, agent)
    with pytest.raises(SidecarError, match="taken agent 'x' over") as refused:
        await a.agents.save(agent)
    assert refused.value.code == "AGT_010"
    await b.agents.save(moved)
    stored = await a.agents.by_id("x")
    assert stored is not None and (stored.agent.sidecar_id, stored.agent.reason) == ("b", "taken over")
