"""How agents end, and that they leave nothing behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.processes import agents_of, end_all, pid_in, process_alive, writes_its_pid
from tests.support.sidecars import call, until
from tests.support.spawned import SLEEP, Spawn, events_of, files_of, follow, steps_until
from tests.support.succession import Succession, writes_blocked

from cco_sidecar.core.agent_status import ENDED
from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess


def test_agents_that_exit_before_their_start_is_stored_end_correctly(sidecar: SidecarProcess) -> None:
    def spawn(code: int) -> SpawnedAgent:
        return spawn_scripted(sidecar, command=["sh", "-c", f"exit {code}"])

    with ThreadPoolExecutor(10) as pool:
        agents = list(pool.map(spawn, [0, 1] * 10))
    for number, agent in enumerate(agents):
        ended = agent.wait()
        assert (ended["status"], ended["exit_code"]) == (("completed", 0), ("failed", 1))[number % 2]
        assert events_of(agent, sidecar) == ["agent_spawned", ("agent_completed", "agent_failed")[number % 2]]
        assert "process_id" not in ended and ended["started_at"] <= ended["ended_at"]


def test_a_start_that_could_not_be_written_is_written_later(sidecar: SidecarProcess, tmp_path: Path) -> None:
    """The disk fails after the agent's process has started, and recovers."""
    agents = sidecar.storage / "agents"
    before = set(agents.iterdir()) if agents.exists() else set()
    with ThreadPoolExecutor() as pool:
        spawning = pool.submit(spawn_scripted, sidecar, steps_until(tmp_path / "go"))
        (directory,) = until(
            lambda: {each for each in (agents.iterdir() if agents.exists() else ()) if (each / "1").exists()} - before,
            "its directory",
        )
        with writes_blocked(sidecar.storage):
            agent = spawning.result(timeout=30)
            assert agent.id == directory.name and agent.spawned["spawned"] is True
    assert agent.get()["status"] == "running"
    until(lambda: events_of(agent, sidecar) == ["agent_spawned"], "the event of its start")
    listed = call(sidecar, "GET", "/api/agents?status=running")["agents"]
    assert agent.id in [each["agent_id"] for each in listed], "the record says so too"
    (tmp_path / "go").touch()
    assert agent.wait()["status"] == "completed"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([{"do": "allocate", "mb": 200}, *SLEEP], "MB of memory; the limit is 80 MB"),
        ([{"do": "start", "command": ["sleep", "600"]}] * 8 + SLEEP, "had 9 processes; the limit is 6"),
        ([{"do": "open", "count": 100}], "limit: had more than 40 files open"),
        ([{"do": "print", "text": "x" * 1000, "times": 3000}, *SLEEP], "limit: printed more than 1 MB"),
    ],
)
def test_an_agent_that_hits_a_limit_fails_and_names_it(
    scripted_agent: Spawn, steps: list[dict[str, Any]], reason: str
) -> None:
    ended = scripted_agent(steps, agent_type="rust-specialist", command=[]).wait()
    assert ended["status"] == "failed" and reason in ended["reason"], ended["reason"]
    assert ended["reason"].startswith("limit: ")


def test_the_time_limit_of_a_spawn_applies(scripted_agent: Spawn) -> None:
    ended = scripted_agent(SLEEP, timeout_seconds=1).wait()
    assert (ended["status"], ended["reason"]) == ("failed", "limit: ran longer than 1 s")


def test_a_killed_shim_is_reported_truthfully_and_leaves_nothing(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    agent = scripted_agent([{"do": "start", "command": writes_its_pid(tmp_path / "child"), "detached": True}, *SLEEP])
    child_pid, process = pid_in(tmp_path / "child"), agent.get()["process_id"]
    shim = psutil.Process(process).parent()
    assert shim is not None
    shim.kill()
    ended = agent.wait()
    assert ended["status"] == "failed" and "its shim was killed" in ended["reason"]
    assert not process_alive(process) and not process_alive(child_pid)
    assert "exit_code" not in ended and "signal" not in ended
    until(lambda: files_of(sidecar, agent) == ["1/output.log"], "nothing but the output")


# What an agent can do to its own run, because it runs as the same user.
SPOILS = (
    'mkdir -p "$AGENT_RUN_DIR/deep/er"; touch "$AGENT_RUN_DIR/deep/er/file"',
    'rm -rf "$AGENT_RUN_DIR"',
    'rm -rf "$AGENT_RUN_DIR/.."',
    'cd "$AGENT_RUN_DIR/.."; rm control; echo nonsense > shim.json',
    'mkdir "$AGENT_RUN_DIR/../exit.json"',
    'mkdir "$AGENT_RUN_DIR/../exit.json.tmp"',
    'cd "$AGENT_RUN_DIR/.."; rm output.log; mkfifo output.log',
)


def test_an_agent_that_damages_its_own_directory_still_ends(tmp_path: Path, root: Path) -> None:
    lone = Succession(tmp_path, root)
    try:
        agents = {spoil: lone.spawn(command=["sh", "-c", f"{spoil}; exit 0"]) for spoil in SPOILS}
        deadline = time.monotonic() + 6
        while (hanging := [spoil for spoil, agent in agents.items() if agent.get()["status"] not in ENDED]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.05)
        left = [str(path) for path in (lone.storage / "agents").glob("*/1/*") if path.name != "output.log"]
        assert (hanging, left) == ([], [])
    finally:
        lone.crash()
        end_all(lone.storage / "agents")


def test_even_a_process_without_a_mark_does_not_survive_a_killed_shim(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    """Neither the process nor its children survive, not even as zombies."""
    child = writes_its_pid(tmp_path / "child", "sleep 600 & wait")[-1]
    hides = {"do": "start", "command": ["env", "-i", "/bin/sh", "-c", child], "detached": True}
    agent = scripted_agent([hides, *SLEEP])
    hidden = psutil.Process(pid_in(tmp_path / "child"))
    family = [hidden, *until(hidden.children, "its child")]
    shim = psutil.Process(agent.get()["process_id"]).parent()
    assert shim is not None
    shim.kill()
    assert agent.wait()["status"] == "failed"
    left = [each for each in family if process_alive(each.pid)]
    for each in left:
        each.kill()
    assert left == [], "orphans"
    until(lambda: not any(each.is_running() for each in family), "the end of the zombies")


def test_thirty_agents_leave_nothing_behind_in_the_sidecar(sidecar: SidecarProcess) -> None:
    process = psutil.Process(sidecar.process.pid)

    def round_of(count: int) -> None:
        with ThreadPoolExecutor(6) as pool:
            agents = list(pool.map(lambda _: spawn_scripted(sidecar, [{"do": "context"}]), range(count)))
            for agent in agents:
                assert agent.wait()["status"] == "completed"
                assert agent.logs()
                assert follow(sidecar, agent)

    round_of(6)
    before = process.num_fds()
    round_of(30)
    # Connections that clients have just closed disappear a moment later.
    until(lambda: process.num_fds() <= before, f"no more than {before} open files", timeout=10)
    assert [each for each in process.children() if each.status() == psutil.STATUS_ZOMBIE] == []
    assert agents_of(process) == []
