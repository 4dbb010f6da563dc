"""The integration guide's complete agent and the quick start's five steps, spawned by the sidecar itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_guide import code
from tests.support.repositories import commit_all
from tests.support.sidecars import serving, written

from cco_sidecar.testing.agents import SpawnedAgent, scripted_command
from cco_sidecar.testing.process import SidecarProcess, run_cco


@pytest.fixture
def team(tmp_path: Path) -> Iterator[SidecarProcess]:
    """A project that contains the guide's agent, and a sidecar that runs the scripted agent for every type."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "agent.py").write_text(code("Complete Python Agent")[0])
    (root / "README.md").write_text("# A project\n")
    commit_all(root)
    config = written(tmp_path / "config.json", agents={"runners": {"default": {"command": scripted_command()}}})
    # `python` is the interpreter that runs these tests.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with serving(tmp_path, root, config=config, environment={"PATH": path}) as running:
        yield running


def check_the_guides_agent(team: SidecarProcess, agent: SpawnedAgent, issue: str) -> None:
    ended = agent.wait()
    assert (ended["status"], ended["exit_code"]) == ("completed", 0), ended
    assert any("Agent completed successfully" in line for line in agent.logs())
    (result,) = team.request("GET", f"/api/results?issue_id={issue}", team.operator).json()["results"]
    assert (result["id"], result["agent_id"]) == (ended["result_id"], agent.id)
    assert result["result"]["files_created"] == ["src/feature.py", "tests/test_feature.py"]
    assert result["result"]["metrics"] == {"execution_time_ms": 5000, "test_coverage": 95}
    events = team.request("GET", "/api/events?since=0", team.operator).json()["events"]
    about = [e for e in events if agent.id in (e["publisher"], e["data"].get("agent_id"))]
    assert [e["event_type"] for e in about] == ["agent_spawned", "agent_completed", "implementation_complete"]


def test_the_guides_complete_agent_completes_with_its_result(team: SidecarProcess) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "issue-guide", "command": ["python", "agent.py"]}
    answer = team.request("POST", "/api/agents/spawn", team.operator, json=body)
    assert answer.status_code == 201, answer.text
    check_the_guides_agent(team, SpawnedAgent(team, answer.json()), "issue-guide")


def test_the_same_when_the_command_spawns_it(team: SidecarProcess) -> None:
    line = ("agent", "spawn", "--type", "python-specialist", "--issue", "issue-cco", "--task", "Implement it")
    done = run_cco(team, *line, "--format", "json", "--", "python", "agent.py")
    assert done.returncode == 0, done.stderr
    spawned = json.loads(done.stdout)
    check_the_guides_agent(team, SpawnedAgent(team, {"jwt_token": None} | spawned), "issue-cco")


def test_the_five_steps_of_the_quick_start(team: SidecarProcess) -> None:
    # 1. Spawn.
    body = {
        "agent_type": "python-specialist",
        "issue_id": "issue-123",
        "task": "Implement user authentication with JWT",
        "context_requirements": ["project_structure", "previous_decisions", "security_policies"],
        "environment": {"LOG_LEVEL": "info"},
        "priority": "high",
    }
    answer = team.request("POST", "/api/agents/spawn", team.operator, json=body)
    assert answer.status_code == 201, answer.text
    spawned = answer.json()
    assert spawned["spawned"] is True and spawned["context_injected"] is True and spawned["process_id"] > 0
    agent = SpawnedAgent(team, spawned)
    ended = agent.wait()
    assert (ended["status"], ended["runner"], ended["priority"]) == ("completed", "command", "high"), ended
    # 2. It had its context, 3. stored a result, which named 5. the next agent, and 4. published an event.
    context, result, event = agent.logs()
    assert context.startswith("context: ")
    assert result.startswith(f"result: {ended['result_id']} next: [")
    next_agents = result.partition("next: ")[2]
    assert next_agents != "[]"
    waited = team.request(
        "GET", "/api/events/wait/implementation_complete?since=0&filter=issue_id:issue-123", team.operator
    ).json()
    assert [each["event_id"] for each in waited["events"]] == [event.removeprefix("event: ")]
    listed = run_cco(team, "results", "list", "--issue", "issue-123")
    assert (listed.returncode, listed.stdout) == (0, "issue-123:\n  - python-specialist: Implemented the task\n")
    as_json = json.loads(run_cco(team, "results", "list", "--issue", "issue-123", "--format", "json").stdout)
    found = as_json["results"] if isinstance(as_json, dict) else as_json
    assert [each["id"] for each in found] == [ended["result_id"]]
    # The same with the command, which waits for the end.
    line = ("agent", "spawn", "--type", "python-specialist", "--issue", "issue-124", "--task", "Implement it", "--wait")
    done = run_cco(team, *line)
    assert done.returncode == 0, done.stderr
    assert "issue-124:" in run_cco(team, "results", "list", "--issue", "issue-124").stdout
