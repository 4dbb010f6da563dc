"""What goes wrong at a bad moment, one thing at a time: a full disk, a crash, an end and a start that meet."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.disks import Disk
from tests.support.processes import of_run, pid_in
from tests.support.sidecars import call, events, publish, small_repository, until
from tests.support.succession import Succession, scripted_runner

from cco_sidecar.testing.agents import ENDED, SpawnedAgent

SLEEP: list[dict[str, Any]] = [{"do": "sleep", "seconds": 600}]
IN_WORKTREE = {
    "agent_type": "test-engineer",
    "issue_id": "issue-1",
    "isolation": "worktree",
    "environment": {"AGENT_SCRIPT": "[]"},
}
RUNNERS = {"test-engineer": scripted_runner(retry={"attempts": 3, "backoff_seconds": 0.2})}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", megabytes=64)
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_repository(tmp_path / "repository")


@pytest.fixture
def house(disk: Disk, root: Path) -> Iterator[Succession]:
    made = Succession(disk.path, root, runners=RUNNERS)
    yield made
    disk.free()
    if made.sidecar.process.poll() is None:
        made.sidecar.kill()
    for process in of_run(made.storage / "agents"):
        with contextlib.suppress(psutil.Error):
            process.kill()


def checkout_that_waits(root: Path, gate: Path) -> Path:
    """Every new worktree of ``root`` is ready only when ``gate`` is there; the file says that one waits."""
    waits = gate.with_name("waits")
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\necho $$ > '{waits}'\nwhile [ ! -e '{gate}' ]; do sleep 0.02; done\n")
    hook.chmod(0o755)
    return waits


def post(house: Succession, body: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        house.sidecar.request("POST", "/api/agents/spawn", house.sidecar.operator, json=body, timeout=60)


def children(pid: int) -> set[int]:
    """Cheaper than psutil's: a keeper begins in milliseconds."""
    found: set[int] = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
            found |= {int(child) for child in file.read().split() if "keeper.py" in command_line(int(child))}
    return found


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def over(house: Succession, agent_id: str) -> Any:
    agent = call(house.sidecar, "GET", f"/api/agents/{agent_id}")
    return agent if agent["status"] in ENDED else None


def stored(agent: SpawnedAgent) -> None:
    until(lambda: any(line.startswith("result: ") for line in agent.logs()), "its result")


def test_a_result_from_before_a_crash_stands_in_the_agents_record(house: Succession, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    agent = house.spawn([{"do": "result"}, {"do": "until", "path": str(gate)}])
    stored(agent)
    (result,) = call(house.sidecar, "GET", "/api/results")["results"]
    assert agent.get()["result_id"] == result["id"]
    house.crash()
    house.open()
    assert house.now(agent).get()["result_id"] == result["id"]
    gate.touch()
    assert house.now(agent).wait()["result_id"] == result["id"]
    completed = events(house.sidecar, "default", "agent_completed")
    assert [event["correlation_id"] for event in completed] == [result["id"]], "completed once, with the result"


def test_a_start_that_a_crash_cut_short_is_no_attempt(house: Succession, root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = checkout_that_waits(root, gate)
    spawning = threading.Thread(target=post, args=(house, IN_WORKTREE))
    spawning.start()
    pid_in(waits)
    (agent,) = call(house.sidecar, "GET", "/api/agents")["agents"]
    house.crash()
    spawning.join(30)
    gate.touch()
    house.open()
    ended = until(lambda: over(house, agent["agent_id"]), "its end")
    assert (ended["status"], ended["attempt"]) == ("completed", 1), ended


def test_a_failure_that_meets_a_restart_is_tried_again(house: Succession, root: Path, tmp_path: Path) -> None:
    """The sidecar goes, and waits for an agent that is just being started; meanwhile another one fails."""
    gate, fail = tmp_path / "gate", tmp_path / "fail"
    waits = checkout_that_waits(root, gate)
    script = f'if [ "$AGENT_ATTEMPT" = 1 ]; then while [ ! -e "{fail}" ]; do sleep 0.02; done; exit 1; fi'
    failing = house.spawn([{"do": "run", "command": ["sh", "-c", script]}], agent_type="test-engineer", command=[])
    keepers = of_run(house.run_of(failing))
    assert keepers
    sidecar = house.sidecar
    spawning = threading.Thread(target=post, args=(house, IN_WORKTREE))
    spawning.start()
    pid_in(waits)
    with grpc.insecure_channel(sidecar.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="orchestra.v1.EventService")
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        sidecar.process.send_signal(signal.SIGHUP)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    fail.touch()
    psutil.wait_procs(keepers, 20)
    assert not of_run(house.run_of(failing))
    gate.touch()
    sidecar.process.communicate(timeout=30)
    spawning.join(30)
    house.open()
    ended = house.now(failing).wait()
    assert (ended["status"], ended["attempt"]) == ("completed", 2), ended


def test_the_sidecar_is_healthy_again_when_the_disk_is(house: Succession, disk: Disk) -> None:
    sidecar = house.sidecar
    publish(sidecar, "default", "before")
    disk.fill(sidecar.process.pid)

    def refused() -> bool:
        answer = sidecar.request("POST", "/api/events/x", sidecar.operator, json={"data": {"text": "x" * 5000}})
        return answer.status_code == 503

    until(refused, "a full disk")
    assert sidecar.request("GET", "/health").status_code == 503
    disk.free()
    until(lambda: sidecar.request("GET", "/health").status_code == 200, "good health, though nobody publishes", 40)


def test_a_sidecar_can_be_stopped_on_a_full_disk(house: Succession, disk: Disk) -> None:
    agent = house.spawn(SLEEP)
    disk.fill(house.sidecar.process.pid)
    house.sidecar.process.send_signal(signal.SIGTERM)
    try:
        house.sidecar.process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        raise AssertionError("it does not end") from None
    assert not of_run(house.run_of(agent))
    disk.free()
    house.open()
    assert house.now(agent).wait()["status"] in ("stopped", "failed")


def test_a_keeper_that_does_not_begin_holds_nobody_up(house: Succession) -> None:
    """It stands still before it could say that it runs."""
    server = house.sidecar.process.pid
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "command": ["sleep", "600"]}
    spawning: threading.Thread | None = None
    keeper = 0
    for _ in range(20):
        before = children(server)
        spawning = threading.Thread(target=post, args=(house, body))
        spawning.start()
        keeper = until(lambda before=before: next(iter(children(server) - before), 0), "a keeper")
        os.kill(keeper, signal.SIGSTOP)
        spawning.join(2)
        if spawning.is_alive():
            break
        os.kill(keeper, signal.SIGCONT)
    assert spawning is not None and spawning.is_alive(), "every keeper was too fast"
    pending = [each for each in call(house.sidecar, "GET", "/api/agents")["agents"] if each["status"] == "pending"]
    assert len(pending) == 1
    path = f"/api/agents/{pending[0]['agent_id']}?timeout=1"
    answer = house.sidecar.request("DELETE", path, house.sidecar.operator, timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (200, "stopped"), answer.text
    assert not of_run(house.storage / "agents" / pending[0]["agent_id"])
    spawning.join(30)


def test_the_scripted_agent_waits_for_a_sidecar_that_dies_while_it_answers(house: Succession, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    agents = [house.spawn([{"do": "repeat", "steps": [{"do": "result"}], "until": str(gate)}]) for _ in range(4)]
    for _ in range(4):
        for agent in agents:
            stored(house.now(agent))
        house.crash()
        house.open()
    gate.touch()
    ended = [house.now(agent).wait() for agent in agents]
    assert [each["status"] for each in ended] == ["completed"] * 4, [each["last_output"] for each in ended]
