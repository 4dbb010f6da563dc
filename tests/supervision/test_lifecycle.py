"""From spawn to end: statuses, reasons, events, logs, retries."""

from __future__ import annotations

import json
from typing import Any

from tests.support.spawned import Spawn

from cco_sidecar.testing.process import SidecarProcess


def test_the_documented_cycle(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(issue="issue-cycle")
    ended = agent.wait()
    assert (ended["status"], ended["exit_code"], ended["reason"]) == ("completed", 0, "exited with code 0"), ended
    (result,) = sidecar.request("GET", "/api/results?issue_id=issue-cycle", sidecar.operator).json()["results"]
    assert result["agent_id"] == agent.id and result["id"] == ended["result_id"]
    events = sidecar.request("GET", "/api/events?since=0", sidecar.operator).json()["events"]
    about = [event["event_type"] for event in events if agent.id in (event["publisher"], event["data"].get("agent_id"))]
    assert about == ["agent_spawned", "agent_completed", "implementation_complete"]
    assert [line.partition(":")[0] for line in agent.logs()] == ["context", "result", "event"]


def test_the_log_has_a_line_for_each_start_and_end(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "exit", "code": 3}], issue="issue-logged")
    agent.wait()
    written = (sidecar.storage / "logs" / "orchestration.log").read_text().splitlines()
    lines = [line for each in written if (line := json.loads(each)).get("agent_id") == agent.id]
    started, ended = (
        next(line for line in lines if line["message"] == message) for message in ("agent started", "agent ended")
    )
    assert started["level"] == ended["level"] == "info"
    assert (ended["status"], ended["exit_code"], ended["attempt"]) == ("failed", 3, 1)
    assert (started["agent_type"], started["issue_id"]) == ("python-specialist", "issue-logged")


def test_a_failure_has_its_reason(scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "print", "text": "so far", "stream": "stderr"}, {"do": "exit", "code": 7}])
    ended = agent.wait()
    assert (ended["status"], ended["exit_code"], ended["last_output"]) == ("failed", 7, ["so far"])


def test_a_stopped_agents_token_is_invalid_on_both_transports(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any
) -> None:
    agent = scripted_agent([{"do": "sleep", "seconds": 60}])
    assert sidecar.request("GET", "/api/events", headers=agent.headers).status_code == 200
    assert agent.stop()["status"] == "stopped"
    assert sidecar.request("GET", "/api/events", headers=agent.headers).json()["code"] == "AUTH_001"
