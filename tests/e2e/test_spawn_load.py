"""119 agents spawned at once, each a real process: every one runs its whole cycle and leaves nothing behind."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from tests.support.processes import agents_of
from tests.support.sidecars import until

from cco_sidecar.core.agent_status import ENDED
from cco_sidecar.core.principal import PUBLISH_EVENTS, WRITE_RESULTS
from cco_sidecar.runners.run import MARK
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

# Sockets that clients have just closed, and a few short-lived files.
FEW = 8


def marked(storage: Path) -> list[psutil.Process]:
    """Processes that agents of this storage started, directly or indirectly."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(str(storage)):
                found.append(process)
    return found


def ended(sidecar: SidecarProcess) -> bool:
    page = sidecar.request("GET", "/api/agents?limit=1000", sidecar.operator).json()
    return all(agent["status"] in ENDED for agent in page["agents"])


def test_119_spawned_agents_run_the_whole_cycle_and_leave_nothing(tmp_path: Path, repository: Path) -> None:
    sidecar = SidecarProcess(tmp_path / "storage", repository)
    try:
        types = load_agent_types(repository)
        assert len(types) == 119
        may = {name: set(agent.permissions) for name, agent in types.items()}
        workers = {name for name in types if {WRITE_RESULTS, PUBLISH_EVENTS} <= may[name]}
        writers = {name for name in types if WRITE_RESULTS in may[name]}
        assert workers == writers == set(types), "every type may follow the documented lifecycle"
        server = psutil.Process(sidecar.process.pid)
        # One of each first, so that everything opened once is already open.
        for name in (min(workers), max(workers)):
            assert spawn(sidecar, name, may[name], project="before").wait()["status"] == "completed"
        files_before, threads_before = server.num_fds(), server.num_threads()
        with ThreadPoolExecutor(len(types)) as crowd:
            agents = list(crowd.map(lambda name: spawn(sidecar, name, may[name]), types))
        until(lambda: ended(sidecar), "the end of all", 180)
        process_alive = [agent.get() for agent in agents]
        assert not [life for life in process_alive if (life["status"], life["exit_code"]) != ("completed", 0)]
        assert sorted(life["agent_type"] for life in process_alive) == sorted(types)
        check_what_they_did(sidecar, process_alive, workers, writers)
        check_what_is_left(sidecar, server, files_before)
        assert server.num_threads() <= threads_before + FEW
    finally:
        assert sidecar.stop() == ""


def spawn(sidecar: SidecarProcess, agent_type: str, may: set[str], project: str = "default") -> SpawnedAgent:
    """Runs the whole cycle if the type may do it; otherwise the part that it may do."""
    steps: list[dict[str, Any]] | None = [{"do": "context"}]
    if WRITE_RESULTS in may:
        steps = None if PUBLISH_EVENTS in may else [{"do": "context"}, {"do": "result"}]
    agent = spawn_scripted(sidecar, steps, agent_type=agent_type, issue=f"issue-{agent_type}", project=project)
    assert agent.spawned["spawned"] is True and agent.spawned["process_id"] > 0
    return agent


def check_what_they_did(
    sidecar: SidecarProcess, process_alive: list[dict[str, Any]], workers: set[str], writers: set[str]
) -> None:
    ids = {life["agent_id"]: life["agent_type"] for life in process_alive}

    def of(path: str, plural: str) -> list[Any]:
        found: list[Any] = sidecar.request("GET", path, sidecar.operator).json()[plural]
        return found

    results = of("/api/results?limit=1000", "results")
    assert Counter(r["agent_type"] for r in results) == dict.fromkeys(writers, 1)
    assert {r["agent_id"]: r["id"] for r in results} == {
        life["agent_id"]: life["result_id"] for life in process_alive if life["agent_type"] in writers
    }
    spawned = of("/api/events?event_type=agent_spawned&limit=1000", "events")
    assert Counter(event["data"]["agent_id"] for event in spawned) == dict.fromkeys(ids, 1)
    done = of("/api/events?event_type=implementation_complete&limit=1000", "events")
    assert Counter(ids[event["publisher"]] for event in done) == dict.fromkeys(workers, 1)
    completed = of("/api/events?event_type=agent_completed&limit=1000", "events")
    assert Counter(event["data"]["agent_id"] for event in completed) == dict.fromkeys(ids, 1)
    for life in process_alive:
        assert life["last_output"][0].startswith("context: "), life


def check_what_is_left(sidecar: SidecarProcess, server: psutil.Process, files_before: int) -> None:
    assert marked(sidecar.storage) == []
    until(lambda: not agents_of(server), "no children of the sidecar", 10)
    until(lambda: server.num_fds() <= files_before + FEW, f"descriptors as before, {files_before}", 20)
    left = {path.relative_to(sidecar.storage).parts[2:] for path in (sidecar.storage / "agents").rglob("*")}
    assert left == {(), ("1",), ("1", "output.log")}
    assert [path for path in sidecar.storage.rglob("*") if path.name.endswith(".tmp")] == []
    page = sidecar.request("GET", "/api/agents?limit=1", sidecar.operator).json()
    assert (page["running"], page["queued"]) == (0, 0), json.dumps(page)
