"""Agents that have ended are started again."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.processes import command_line_of, of_run
from tests.support.sidecars import call, events, until
from tests.support.spawned import Spawn, events_of, files_of, resume

from cco_sidecar.testing.process import SidecarProcess


def test_an_agent_is_resumed_under_its_own_id(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        [{"do": "env", "name": "AGENT_ATTEMPT"}, {"do": "env", "name": "AGENT_TASK"}, {"do": "context"}]
    )
    agent.wait()
    answer = resume(sidecar, agent, "once more")
    assert (answer["agent_id"], answer["attempt"]) == (agent.id, 2) and answer["status"] in ("running", "completed")
    assert "exit_code" not in answer or answer["status"] == "completed"
    ended = agent.wait()
    assert (ended["status"], ended["attempt"], ended["max_attempts"]) == ("completed", 2, 2)
    assert agent.logs()[:2] == ["AGENT_ATTEMPT=2", "AGENT_TASK=once more"]
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"] * 2


def test_an_agent_reported_as_ended_can_be_resumed(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    for _ in range(6):
        agent = scripted_agent(command=["sh", "-c", "sleep 0.1"])
        while agent.get()["status"] != "completed":
            pass
        call(sidecar, "POST", f"/api/agents/{agent.id}/resume", json={})


def test_a_resumed_agent_gets_its_message_on_stdin(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "run", "command": ["cat"]}], agent_type="go-specialist", command=[])
    agent.wait()
    assert agent.logs()[0] == "what the script says"
    resume(sidecar, agent, "and now the tests")
    agent.wait()
    assert agent.logs()[0] == "and now the tests"


def test_concurrent_resumes_start_an_agent_once(sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path) -> None:
    agent = scripted_agent([{"do": "run", "command": ["sh", "-c", "test $AGENT_ATTEMPT = 1 || sleep 600"]}])
    agent.wait()
    until(lambda: files_of(sidecar, agent) == ["1/output.log"], "its end")

    def ask(_: int) -> int:
        return sidecar.request("POST", f"/api/agents/{agent.id}/resume", sidecar.operator, json={}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(ask, range(8)))
    assert answers == [200] + [409] * 7
    shims = [each for each in of_run(sidecar.storage / "agents" / agent.id) if "shim.py" in command_line_of(each)]
    assert len(shims) == 1 and agent.get()["attempt"] == 2
    assert agent.stop(force=True)["status"] == "stopped"


# Stores a result the first time, and nothing when it is resumed.
STORES_ONCE = """
import json, os, urllib.request
if os.environ["AGENT_ATTEMPT"] == "1":
    body = {"agent_type": os.environ["AGENT_TYPE"], "issue_id": os.environ["ISSUE_ID"], "result": {"status": "success"}}
    headers = {"Authorization": "Bearer " + os.environ["JWT_TOKEN"], "Content-Type": "application/json"}
    url = os.environ["SIDECAR_URL"] + "/results"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers))
"""


def test_a_resumed_agent_without_a_new_result_is_still_announced(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    agent = scripted_agent([{"do": "run", "command": [sys.executable, "-c", STORES_ONCE]}])
    first = agent.wait()
    assert first["status"] == "completed" and first["result_id"]
    resume(sidecar, agent)
    assert agent.wait()["result_id"] == first["result_id"]
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"] * 2
    told = [each for each in events(sidecar, "default", "agent_completed") if each["data"]["agent_id"] == agent.id]
    assert [each["data"].get("result_id") for each in told] == [first["result_id"], None]
