"""`cco auth can`: exits with 0 for yes and 1 for no, and names the rule that decides."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.support.commands import fails, in_process, misused, printed

from cco_sidecar.testing.process import SidecarProcess, run_cco


@pytest.mark.parametrize(
    ("line", "allowed", "says"),
    [
        (["python-specialist", "PublishEvent"], True, "permissions of the agent type"),
        (["python-specialist", "publishevent"], True, "permissions of the agent type"),
        (["python-specialist", "orchestra.v1.EventService/PublishEvent"], True, "permissions of the agent type"),
        (["documentation-expert", "StopAgent"], False, "lacks the permission 'spawn_agents'"),
        (["python-specialist", "SpawnAgent"], False, "spawn_agents"),
        (["chief-architect", "SpawnAgent"], True, "permissions of the agent type"),
        (["chief-architect", "GetCredential"], False, "operator only"),
        (["technical-writer", "GetHealth"], True, "open to anyone"),
        (["technical-writer", "ListEvents"], True, "any valid token"),
    ],
)
def test_access_of_a_type(sidecar: SidecarProcess, line: list[str], allowed: bool, says: str) -> None:
    done = run_cco(sidecar, "auth", "can", *line)
    assert done.returncode == (0 if allowed else 1) and done.stderr == ""
    assert done.stdout.startswith("yes: " if allowed else "no: ") and done.stdout.count("\n") == 1
    assert says in done.stdout


def test_access_of_an_agent_is_about_its_own_issue_and_project(sidecar: SidecarProcess) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "command": ["uname"]}
    spawned = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body).json()
    for more, allowed in (([], True), (["--issue", "issue-1"], True), (["--issue", "issue-2"], False),
                          (["--project", "project-else"], False)):  # fmt: skip
        done = run_cco(sidecar, "auth", "can", spawned["agent_id"], "CreateResult", *more)
        assert done.returncode == (0 if allowed else 1), (more, done.stdout, done.stderr)
    assert done.stdout.startswith("no: own project only")


def test_every_format_has_the_same_exit_code(sidecar: SidecarProcess) -> None:
    line = ("auth", "can", "documentation-expert", "SpawnAgent")
    done = run_cco(sidecar, *line, "--format", "json")
    as_json = json.loads(done.stdout)
    assert done.returncode == 1 and as_json["allowed"] is False
    assert as_json["rpc"] == "orchestra.v1.AgentService/SpawnAgent"
    done = run_cco(sidecar, *line, "--format", "yaml")
    assert done.returncode == 1 and yaml.safe_load(done.stdout) == as_json
    done = run_cco(sidecar, "auth", "can", "python-specialist", "PublishEvent", "--format", "json")
    assert json.loads(printed(done))["allowed"] is True


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["python-specialist", "PublishEvnt"], "did you mean 'PublishEvent'?"),
        (["python-specialist", "Conjure"], "unknown call 'Conjure'"),
        (["python-specialist", ""], "rpc"),
        (["python-specialst", "PublishEvent"], "did you mean 'python-specialist'?"),
        (["python-specialist-1", "PublishEvent"], "no agent and no agent type 'python-specialist-1' found"),
    ],
)
def test_a_typo_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, "auth", "can", *line), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["can"], "AGENT"),
        (["can", "python-specialist"], "RPC"),
        (["can", "python-specialist", "PublishEvent", "now"], "now"),
        (["may", "python-specialist", "PublishEvent"], "may"),
        (["can", "python-specialist", "PublishEvent", "--format", "csv"], "csv"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process("auth", *line), says)


def test_only_the_operator_may_ask(sidecar: SidecarProcess) -> None:
    own = [("JWT_TOKEN", sidecar.agent("chief-architect").token)]
    fails(run_cco(sidecar, "auth", "can", "python-specialist", "PublishEvent", environment=own), "operator")
