"""Attempts after the first."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from tests.support.sidecars import events, until
from tests.support.spawned import Spawn, events_of, files_of

from cco_sidecar.testing.process import SidecarProcess


def test_a_failing_agent_is_retried_with_growing_pauses(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        [{"do": "env", "name": "AGENT_ATTEMPT"}, {"do": "exit", "code": 7}], agent_type="test-engineer", command=[]
    )
    ended = agent.wait()
    assert (ended["status"], ended["attempt"], ended["max_attempts"]) == ("failed", 3, 3), ended
    assert (ended["exit_code"], ended["reason"]) == (7, "exited with code 7") and "retry_at" not in ended
    assert events_of(agent, sidecar) == ["agent_spawned"] * 3 + ["agent_failed"]
    starts = [
        each["timestamp"]
        for each in events(sidecar, "default", "agent_spawned")
        if each["data"]["agent_id"] == agent.id
    ]
    pauses = [later - earlier for earlier, later in zip(map(seconds, starts), map(seconds, starts[1:]), strict=False)]
    assert pauses[0] >= 0.2 and pauses[1] >= 0.4, pauses
    for attempt in (1, 2, 3):
        answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs?attempt={attempt}", sidecar.operator)
        assert f"AGENT_ATTEMPT={attempt}" in answer.text
    until(
        lambda: files_of(sidecar, agent) == ["1/output.log", "2/output.log", "3/output.log"], "nothing but the output"
    )


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_an_attempt_that_succeeds_is_the_last(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        [{"do": "run", "command": ["sh", "-c", "test $AGENT_ATTEMPT = 2"]}], agent_type="test-engineer", command=[]
    )
    ended = agent.wait()
    assert (ended["status"], ended["attempt"], ended["exit_code"]) == ("completed", 2, 0)
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_spawned", "agent_completed"]


def test_a_new_attempt_does_not_show_how_the_previous_one_ended(scripted_agent: Spawn, tmp_path: Path) -> None:
    waits = f"touch '{tmp_path}/second'; while [ ! -e '{tmp_path}/go' ]; do sleep 0.02; done"
    script = f"test $AGENT_ATTEMPT = 1 && exit 7; {waits}; kill -9 $PPID"
    agent = scripted_agent([{"do": "run", "command": ["sh", "-c", script]}], agent_type="test-engineer", command=[])
    until((tmp_path / "second").exists, "the second attempt")
    running = agent.wait("running")
    assert running["attempt"] == 2
    assert not {"exit_code", "ended_at", "signal", "peak_memory_bytes"} & running.keys(), running
    (tmp_path / "go").touch()
    agent.wait("pending", "failed")
    ended = agent.wait()
    assert (ended.get("signal"), ended.get("exit_code"), ended["attempt"]) == ("SIGKILL", None, 3), ended


def test_a_question_of_a_failed_attempt_does_not_carry_over(scripted_agent: Spawn, tmp_path: Path) -> None:
    steps = [
        {
            "do": "run",
            "command": ["sh", "-c", f"test $AGENT_ATTEMPT = 1 || while [ ! -e '{tmp_path}/go' ]; do sleep 0.02; done"],
        },
        {"do": "heartbeat", "message": "what now?", "needs_input": True},
        {"do": "exit", "code": 1},
    ]
    agent = scripted_agent(steps, agent_type="test-engineer", command=[])
    until(lambda: agent.get()["attempt"] == 2 and agent.get()["status"] != "pending", "the second attempt")
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert agent.get()["status"] == "running", "this attempt has asked nothing yet"
    (tmp_path / "go").touch()
    assert agent.wait()["status"] == "failed"


def test_an_agent_that_waits_for_its_next_attempt_can_be_stopped(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    agent = scripted_agent([{"do": "exit", "code": 7}], agent_type="qa-engineer", command=[])
    until(lambda: agent.get().get("retry_at"), "the pause")
    assert agent.stop()["status"] == "stopped"
    found = agent.get()
    assert (found["status"], found["reason"], found["attempt"]) == ("stopped", "stopped by the operator", 1)
    assert "retry_at" not in found
    assert files_of(sidecar, agent) == ["1/output.log"]
