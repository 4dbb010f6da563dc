"""Silent agents, heartbeats, and questions."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.support.sidecars import call, refused, until
from tests.support.spawned import SLEEP, Spawn, as_agent, events_of, steps_until

from cco_sidecar.testing.process import SidecarProcess


def test_a_silent_agent_is_stuck_until_its_next_heartbeat(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    steps = [
        *steps_until(tmp_path / "go"),
        {"do": "heartbeat", "percent": 40, "message": "on it"},
        *steps_until(tmp_path / "end"),
    ]
    agent = scripted_agent(steps, agent_type="debugger", command=[])
    stuck = agent.wait("stuck")
    assert stuck["reason"].startswith("no call, heartbeat or output for ")
    (tmp_path / "go").touch()
    running = agent.wait("running")
    assert running["reason"] == "attempt 1"
    assert (running["progress"]["percent"], running["progress"]["message"]) == (40, "on it")
    (tmp_path / "end").touch()
    assert agent.wait()["status"] == "completed"
    assert events_of(agent, sidecar)[:2] == ["agent_spawned", "agent_stuck"]


def test_an_agent_that_calls_or_prints_is_not_stuck(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    says = {"do": "print", "text": "still here"}
    calls = {"do": "call", "method": "GET", "path": "/events?limit=1"}
    agents = [
        scripted_agent(
            [{"do": "repeat", "steps": [step], "until": str(tmp_path / "go")}], agent_type="debugger", command=[]
        )
        for step in (says, calls)
    ]
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 3.5, "more than the silence limit and a check")
    (tmp_path / "go").touch()
    for agent in agents:
        assert agent.wait()["status"] == "completed"
        assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


def test_a_suspended_agent_is_stuck_until_it_continues(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    agent = scripted_agent(steps_until(tmp_path / "go"))
    process = agent.get()["process_id"]
    os.kill(process, signal.SIGSTOP)
    assert "stopped by a signal" in agent.wait("stuck")["reason"]
    os.kill(process, signal.SIGCONT)
    agent.wait("running")
    (tmp_path / "go").touch()
    assert agent.wait()["status"] == "completed"
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_stuck", "agent_completed"]


def test_an_agent_that_waits_for_a_person_is_reported_as_such(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    steps = [
        {"do": "heartbeat", "message": "which database?", "needs_input": True},
        *steps_until(tmp_path / "go"),
        {"do": "heartbeat", "message": "thanks"},
        *steps_until(tmp_path / "end"),
    ]
    agent = scripted_agent(steps, agent_type="debugger", command=[])
    asking = agent.wait("needs_input")
    assert asking["reason"] == "which database?"
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 2.5, "more than the silence limit")
    assert agent.get()["status"] == "needs_input", "an agent that waits for a person is not stuck"
    (tmp_path / "go").touch()
    assert agent.wait("running")["progress"]["message"] == "thanks"
    (tmp_path / "end").touch()
    assert agent.wait()["status"] == "completed"


def test_an_agent_sends_heartbeats_for_itself_only(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent, other = scripted_agent(SLEEP), scripted_agent(SLEEP)
    path = f"/api/agents/{agent.id}/heartbeat"
    assert call(sidecar, "POST", path, as_agent(agent), json={"percent": 1})["status"] == "running"
    refused(sidecar, 403, "AUTH_003", "POST", path, as_agent(other), json={"percent": 1})
    refused(sidecar, 400, "REQ_001", "POST", path, as_agent(agent), json={"percent": 101})
    agent.stop(force=True)
    refused(sidecar, 401, "AUTH_001", "POST", path, as_agent(agent), json={"percent": 1})
    refused(sidecar, 409, "AGT_005", "POST", path, sidecar.operator, json={"percent": 1})
