"""Where an agent starts."""

from __future__ import annotations

from typing import Any

import pytest

from cco_sidecar.core.clock import Clock
from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.presets import Runner
from cco_sidecar.supervision.active import ActiveAgent
from cco_sidecar.supervision.life import Life
from cco_sidecar.supervision.placement import HERE, Placement
from cco_sidecar.supervision.records import Records
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest


class World:
    def __init__(self, max_concurrent: int = 2) -> None:
        self.time = 0.0
        self.hub = Hub(60, lambda: 0.0, Clock(), lambda: self.time)
        self.placement = Placement(self.hub, max_concurrent)

    async def join(self, name: str, *, running: int = 0, **offer: Any) -> None:
        request = pb.AttendRunnerRequest(runner_id=name, instance=name, runner=pb.Runner(**offer))
        self._orders = self.hub.attend(request).orders(pb.AttendRunnerResponse())
        await anext(self._orders)
        remote = self.hub.runners[name]
        remote.reported, remote.others = True, running

    def place(self, *waiting: ActiveAgent, here: int = 0) -> tuple[str, str] | None:
        found = self.placement.next(waiting, here)
        return (found[0].agent_id, found[1]) if found is not None else None


def agent(name: str = "a", *tags: str, preset: tuple[str, ...] = (), **record: Any) -> ActiveAgent:
    request = SpawnAgentRequest(runner_tags=tags)
    return ActiveAgent(1, Agent(agent_id=name, **record), request, Runner(tags=preset), Life())


@pytest.fixture
async def world() -> World:
    return World()


async def test_without_runners_it_is_this_machine_until_that_is_full(world: World) -> None:
    assert world.place(agent()) == ("a", HERE)
    assert world.place(agent(), here=2) is None


async def test_one_that_cannot_start_holds_up_no_other(world: World) -> None:
    assert world.place(agent("gpu", "gpu"), agent("plain")) == ("plain", HERE)
    await world.join("far", tags=["gpu"], capacity=1, running=1)
    assert world.place(agent("gpu", "gpu"), agent("plain")) == ("plain", HERE)


async def test_all_tags_count_those_of_the_spawn_and_those_of_the_type(world: World) -> None:
    await world.join("far", tags=["gpu", "eu"])
    assert world.place(agent("a", "gpu", preset=("eu",))) == ("a", "far")
    assert world.place(agent("a", "gpu", "us")) is None
    assert world.place(agent("a", "far")) == ("a", "far")


async def test_the_id_of_another_runner_is_no_tag(world: World) -> None:
    await world.join("far", capacity=1, running=1)
    await world.join("thief", tags=["far"])
    assert world.place(agent("a", "far")) is None


async def test_types_and_projects_of_a_runner(world: World) -> None:
    await world.join("far", agent_types=["writer"], project_ids=["shop"])
    fits = {"agent_type": "writer", "project_id": "shop"}
    assert world.place(agent("a", "far", **fits)) == ("a", "far")
    for wrong in ({"agent_type": "tester"}, {"project_id": "site"}):
        assert world.place(agent("a", "far", **(fits | wrong))) is None


async def test_the_lowest_share_of_used_slots_wins(world: World) -> None:
    await world.join("busy", capacity=4, running=3)
    await world.join("idle", capacity=4, running=1)
    assert world.place(agent(), here=1) == ("a", "idle")
    assert world.place(agent(), here=0) == ("a", HERE)


async def test_it_returns_to_its_worktree_unless_that_is_gone(world: World) -> None:
    working = agent("a", runner_id="far", worktree="/w")
    assert world.place(working) is None
    await world.join("other")
    assert world.place(working) is None
    await world.join("far")
    assert world.place(working) == ("a", "far")
    world.time += 100
    world.hub.runners["other"].heard = world.time
    assert world.place(working) in (("a", HERE), ("a", "other"))


async def test_work_that_is_gone_is_not_looked_for_elsewhere() -> None:
    records: Any = None
    there = agent("a", runner_id="far", worktree="/w", branch="agent/a")
    Records.set_place(records, there, "far")
    assert (there.record.worktree, there.record.branch) == ("/w", "agent/a")
    Records.set_place(records, there, "near")
    assert (there.record.runner_id, there.record.worktree) == ("near", "")


FITS = {"agent_type": "writer", "project_id": "shop"}


@pytest.mark.parametrize(
    ("offer", "tags", "says"),
    [
        ({}, (), "waiting for a free slot"),
        (None, ("gpu",), "waiting for a runner with gpu: none is connected"),
        (
            {"tags": ["gpu"]},
            ("gpuu",),
            "waiting for a runner with gpuu: none of the connected ones has them: far (gpu)",
        ),
        (
            {"tags": ["gpu"], "project_ids": ["site"]},
            ("gpu",),
            "waiting for a runner with gpu: far does not take agents of type writer and project shop",
        ),
        ({"tags": ["gpu"], "capacity": 1}, ("gpu",), "waiting for a runner with gpu: all slots of far are taken"),
    ],
)
async def test_it_says_what_an_agent_waits_for(
    world: World, offer: dict[str, Any] | None, tags: tuple[str, ...], says: str
) -> None:
    if offer is not None:
        await world.join("far", running=1, **offer)
    assert world.placement.waits_for(agent("a", *tags, **FITS)) == says


async def test_an_agent_with_a_worktree_waits_for_its_runner(world: World) -> None:
    await world.join("far", tags=["gpu"], capacity=1, running=1)
    waits = agent("a", "gpu", worktree="/there", runner_id="far")
    assert world.placement.waits_for(waits) == "waiting for runner far, which has its worktree"
