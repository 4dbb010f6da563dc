"""An agent's environment, files and tokens; and spawns that are refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.clocked import ClockControl, ClockedSidecar
from tests.support.sidecars import call, events, fresh, refused, until, written
from tests.support.spawned import SLEEP, Spawn, directory_of, files_of
from tests.support.succession import Succession, scripted_runner

from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess


def test_the_environment_of_an_agent(sidecar: SidecarProcess, scripted_agent: Spawn, root: Path, secret: str) -> None:
    names = (
        *("AGENT_ID", "AGENT_TYPE", "ISSUE_ID", "PROJECT_ID", "SIDECAR_URL", "SIDECAR_GRPC", "JWT_TOKEN"),
        *(
            "JWT_TOKEN_FILE",
            "CONTEXT_FILE",
            "CONTEXT_MARKDOWN_FILE",
            "AGENT_TASK",
            "AGENT_ATTEMPT",
            "MINE",
            "PLAIN_VARIABLE",
            "PWD",
        ),
        *("CCO_SIDECAR_JWT_SECRET", "SIDECAR_LEFT_OVER"),
    )
    script = "import json, os; print(json.dumps([dict(os.environ), os.getcwd()]))"
    agent = scripted_agent(
        command=[sys.executable, "-c", script],
        environment={"MINE": "über"},
        task="do é",
        issue="issue-env",
    )
    agent.wait()
    ((environment, directory),) = map(json.loads, agent.logs())
    found = {name: environment.get(name) for name in names}
    run = directory_of(sidecar, agent)
    assert directory == str(root)
    assert found | {"JWT_TOKEN": "", "PWD": ""} == {
        "AGENT_ID": agent.id,
        "AGENT_TYPE": "python-specialist",
        "ISSUE_ID": "issue-env",
        "PROJECT_ID": "default",
        "SIDECAR_URL": f"{sidecar.url}/api",
        "SIDECAR_GRPC": sidecar.target,
        "JWT_TOKEN": "",
        "JWT_TOKEN_FILE": str(run / "agent" / "token"),
        "CONTEXT_FILE": str(run / "agent" / "context.json"),
        "CONTEXT_MARKDOWN_FILE": str(run / "agent" / "context.md"),
        "AGENT_TASK": "do é",
        "AGENT_ATTEMPT": "1",
        "MINE": "über",
        "PLAIN_VARIABLE": "plain",
        "PWD": "",
        "CCO_SIDECAR_JWT_SECRET": None,
        "SIDECAR_LEFT_OVER": None,
    }
    assert not [name for name in environment if name.startswith("CCO_SIDECAR_")]
    assert secret not in json.dumps(environment)
    # The token is masked in its output.
    assert environment["JWT_TOKEN"] == "[token]" and agent.token not in str(agent.logs())


def test_the_files_of_an_agent_are_private_and_complete(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(SLEEP, issue="issue-files")
    run = directory_of(sidecar, agent)
    shared = run / "agent"
    assert (shared / "token").read_text() == f"{agent.token}\n"
    context = json.loads((shared / "context.json").read_text())
    assert (context["issue_id"], context["agent_type"]) == ("issue-files", "python-specialist")
    assert context["context"]["git_context"]
    readable = (shared / "context.md").read_text()
    assert readable.startswith("# Context of issue-files for python-specialist\n")
    assert str(shared / "context.md") in (shared / "prompt.md").read_text()
    assert run.stat().st_mode & 0o077 == 0
    for name in ("agent", "agent/token", "agent/context.json", "agent/context.md", "agent/prompt.md", "output.log"):
        assert (run / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize(
    "environment",
    [
        *(
            {name: "x"}
            for name in ("AGENT_ID", "JWT_TOKEN", "JWT_TOKEN_FILE", "CONTEXT_FILE", "SIDECAR_URL", "AGENT_RUN_DIR")
        ),
        {"CCO_SIDECAR_JWT_SECRET": "x"},
        {"A=B": "x"},
        {"": "x"},
        {"NUL": "a\0b"},
    ],
)
def test_a_forbidden_environment_is_refused(sidecar: SidecarProcess, environment: dict[str, str]) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "environment": environment}
    assert (
        "environment"
        in refused(sidecar, 400, "REQ_001", "POST", "/api/agents/spawn", sidecar.operator, json=body)["message"]
    )


def spawn_refused(sidecar: SidecarProcess, status: int, code: str, **body: Any) -> str:
    full = {"agent_type": "python-specialist", "issue_id": "issue-refused", **body}
    message: str = refused(sidecar, status, code, "POST", "/api/agents/spawn", sidecar.operator, json=full)["message"]
    return message


def test_a_refused_spawn_says_why_and_leaves_no_agent(sidecar: SidecarProcess) -> None:
    assert "nonsense" in spawn_refused(sidecar, 404, "AGT_002", agent_type="nonsense", command=["true"])
    assert "no-program" in spawn_refused(sidecar, 400, "REQ_001", command=["no-program"])
    assert "no-program-of-this-name" in spawn_refused(sidecar, 500, "AGT_001", agent_type="swift-specialist")
    assert "context_requirements" in spawn_refused(
        sidecar, 400, "REQ_001", command=["true"], context_requirements=["nonsense"]
    )
    spawn_refused(sidecar, 400, "REQ_001", command=["true"], timeout_seconds=-1)
    spawn_refused(sidecar, 400, "REQ_001", command=["sh", "-c", "a\0b"])
    assert call(sidecar, "GET", "/api/agents?issue_id=issue-refused")["agents"] == []


def test_a_missing_credential_does_not_leave_a_failed_agent(sidecar: SidecarProcess) -> None:
    issue = fresh("issue-credential")
    spawn_refused(sidecar, 404, "CRD_001", command=["true"], credentials=["NO_SUCH_CREDENTIAL"], issue_id=issue)
    assert call(sidecar, "GET", f"/api/agents?issue_id={issue}")["agents"] == []


def test_a_task_too_large_for_a_process_is_refused(sidecar: SidecarProcess) -> None:
    assert "task" in spawn_refused(sidecar, 400, "REQ_001", command=["true"], task="a\0b")


def test_a_task_of_maximum_length_is_accepted(scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "exit", "code": 0}], task="漢" * 100_000)
    assert agent.wait()["status"] == "completed"


def test_a_command_of_the_operator_runs_unchanged(scripted_agent: Spawn) -> None:
    agent = scripted_agent(command=["echo", "{task}", "{model}", "{issue_id}"])
    agent.wait()
    assert agent.logs() == ["{task} {model} {issue_id}"]


def test_a_program_is_looked_up_where_it_runs(scripted_agent: Spawn, root: Path) -> None:
    agent = scripted_agent(command=["./reviewer", "it"])
    agent.wait()
    assert agent.logs() == [f"reviewing it in {root}"]


def test_placeholders_are_filled_in_a_runners_program_too(scripted_agent: Spawn, root: Path) -> None:
    agent = scripted_agent(agent_type="code-reviewer", command=[], issue="issue-x")
    agent.wait()
    assert agent.logs() == [f"reviewing issue-x in {root}"]


def test_required_files_are_in_the_context(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    def reason(**options: Any) -> str:
        agent = scripted_agent(SLEEP, issue=fresh("issue-required"), **options)
        manifest = json.loads((directory_of(sidecar, agent) / "agent" / "context.json").read_text())["manifest"]
        return next((each["reason"] for each in manifest["entries"] if each["path"] == "notes/plan.xyz"), "")

    assert reason() != "required"
    assert reason(context_requirements=["notes/*.xyz", "security_policies"]) == "required"


def test_only_permitted_callers_spawn_and_only_the_operator_sets_a_command(sidecar: SidecarProcess) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "issue-who"}
    specialist = sidecar.agent("python-specialist", project="default")
    architect = sidecar.agent("chief-architect", project="default")
    refused(sidecar, 403, "AUTH_003", "POST", "/api/agents/spawn", specialist, json=body)
    for more in ({"command": ["true"]}, {"credentials": ["X"]}):
        refused(sidecar, 403, "AUTH_003", "POST", "/api/agents/spawn", architect, json=body | more)
    steps = {"environment": {"TASK_SCRIPT": json.dumps([{"do": "exit", "code": 0}])}}
    spawned = SpawnedAgent(sidecar, call(sidecar, "POST", "/api/agents/spawn", architect, json=body | steps))
    ended = spawned.wait()
    assert (ended["status"], ended["spawned_by"], ended["depth"]) == ("completed", architect.id, 1)


def test_a_printed_credential_is_redacted(tmp_path: Path, root: Path) -> None:
    lone = Succession(tmp_path, root)
    try:
        for name, value in (("API_KEY", "k3y-of-the-api"), ("PEM", "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n")):
            call(lone.sidecar, "PUT", f"/api/credentials/{name}", json={"value": value})
        command = ["sh", "-c", 'echo "$API_KEY"; echo "$PEM"; echo "$PEM" >&2']
        agent = lone.spawn(command=command, credentials=["API_KEY", "PEM"])
        ended = agent.wait()
        assert (ended["status"], ended["credentials"]) == ("completed", ["API_KEY", "PEM"])
        assert agent.logs()[0] == "[secret]"
        told = json.dumps([agent.logs(), ended, events(lone.sidecar, "default")])
        assert "k3y-of-the-api" not in told and "MIIEvQIBADANBg" not in told
    finally:
        lone.close()


def test_the_token_file_is_renewed_before_its_token_expires(tmp_path: Path, root: Path) -> None:
    clock = ClockControl(tmp_path / "clock")
    runners = {"qa-engineer": scripted_runner(retry={"attempts": 2, "backoff_seconds": 36000})}
    config = written(tmp_path / "config.json", agents={"runners": runners})
    sidecar = ClockedSidecar(tmp_path / "storage", root, clock, config=config)
    try:
        pausing = spawn_scripted(sidecar, [{"do": "exit", "code": 1}], agent_type="qa-engineer", command=[])
        until(lambda: pausing.get().get("retry_at"), "the pause")
        # Tokens are checked in spawn order: when the second agent has its token, the first has been checked.
        working = spawn_scripted(sidecar, SLEEP)
        file = directory_of(sidecar, working) / "agent" / "token"
        first = file.read_text().strip()
        assert first == working.token
        clock.move(minutes=56)
        until(lambda: file.read_text().strip() != first, "a new token")
        second = file.read_text().strip()
        assert files_of(sidecar, pausing) == ["1/output.log"], "no token for an agent that does not run"
        pausing.stop()
        clock.move(minutes=10)
        for token in (first, second):
            headers = {"Authorization": f"Bearer {token}"}
            assert sidecar.request("GET", "/api/events", headers=headers).status_code == 200
        working.stop(force=True)
        for token in (first, second):
            headers = {"Authorization": f"Bearer {token}"}
            assert sidecar.request("GET", "/api/events", headers=headers).status_code == 401
    finally:
        assert sidecar.stop() == ""
