"""Two sidecars, three NATS servers, PostgreSQL and two runners, while one after the other breaks. Clients use whichever answers.

`make cluster-test` breaks everything several times, with 119 agents; CI breaks a few things, with a dozen agents. ``SEED``
repeats the choices of a run, but not its timing.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.chaos import FAULTS, PROJECT, TICKING, Clients, Cluster, Fault, longest_pause, runs_in
from tests.cluster.history import faults
from tests.support.sidecars import until

pytestmark = pytest.mark.cluster

_CALM_SECONDS = 6.0


@pytest.fixture
def cluster(tmp_path: Path, root: Path) -> Iterator[Cluster]:
    runner = {"command": ["sh", str(TICKING)], "retry": {"attempts": 50, "backoff_seconds": 0}}
    sections = {
        "agents": {"runners": {"default": runner}, "sandbox": "off"},
        "cluster": {"lost_after_seconds": 20},
        "events": {"max_queue_size": 1_000_000},
    }
    made = Cluster(tmp_path, root, **sections)
    yield made
    made.close()


def break_one(cluster: Cluster, clients: Clients, fault: Fault, chance: random.Random) -> str:
    """Returns how long what stood still."""
    began = time.monotonic()
    end = fault.begin(cluster, chance)
    time.sleep(fault.seconds)
    end()
    ended = time.monotonic()
    for kind, times in clients.acknowledged.items():
        what = f"{kind} to be answered after: {fault.name}"
        until(lambda times=times: clients.problems or (times and times[-1] > ended), what, 90)  # type: ignore[misc]
    assert clients.problems == [], clients.problems
    time.sleep(_CALM_SECONDS)
    pauses = {kind: longest_pause(list(times), began, ended) for kind, times in clients.acknowledged.items()}
    shown = ", ".join(f"{kind} {seconds:5.1f} s" for kind, seconds in pauses.items())
    return f"{fault.name:40} {fault.seconds:4.0f} s   longest pause: {shown}"


def trouble(cluster: Cluster, tmp_path: Path, chosen: list[Fault], agents: int, seed: int) -> None:
    chance = random.Random(seed)
    clients = Clients(cluster, seed)
    clients.call("POST", "/api/consumers", chance, {"name": "chaos", "project_id": PROJECT, "settings": {
        "ack_wait_seconds": 20, "max_deliveries": 100, "event_types": ["happened"]}})  # fmt: skip
    file = tmp_path / "ticks"
    file.touch()
    seconds = int(sum(each.seconds + _CALM_SECONDS for each in chosen))
    for number in range(agents):
        body = {
            "agent_type": "python-specialist",
            "issue_id": f"issue-{number}",
            "project_id": PROJECT,
            "task": "tick",
            "environment": {"TASK_FILE": str(file), "TASK_SECONDS": str(seconds)},
            # Two thirds at the runners, one on the machines of the sidecars.
            "runner_tags": ["far"] if number % 3 else [],
        }
        clients.call("POST", "/api/agents/spawn", chance, body)
    print(f"seed {seed}, {agents} agents")
    with clients.running():
        for fault in chosen:
            print(break_one(cluster, clients, fault, chance), flush=True)
    clients.history.runs = runs_in(file)
    assert clients.problems == [], clients.problems
    counted = clients.history
    print(
        f"{len(counted.published)} events, {len(counted.stored)} results, {len(counted.consumed)} deliveries and "
        f"settlements, {len(counted.runs)} runs of agents"
    )
    assert faults(clients.history) == []
    assert len({run.agent_id for run in clients.history.runs}) == agents


def test_a_few_faults(cluster: Cluster, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", "1"))
    trouble(cluster, tmp_path, [FAULTS[each] for each in (0, 2, 4, 6, 11)], 12, seed)


@pytest.mark.long
def test_every_fault_several_times(cluster: Cluster, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", str(time.time_ns() % 100_000)))
    chosen = list(FAULTS) * int(os.environ.get("ROUNDS", "3"))
    random.Random(seed).shuffle(chosen)
    trouble(cluster, tmp_path, chosen, int(os.environ.get("AGENTS", "119")), seed)
