"""Worktrees when the repository, its hooks or the environment get in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.repositories import git
from tests.support.sidecars import call, fresh, serving, small_repository, until, written
from tests.support.succession import scripted_runner

from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

COMMIT = [
    {"do": "run", "command": ["git", "add", "--all"]},
    {"do": "run", "command": ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "Work"]},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_repository(tmp_path / "repository")


@contextmanager
def team(
    tmp_path: Path, root: Path, environment: dict[str, str] | None = None, **agents: Any
) -> Iterator[SidecarProcess]:
    runners = {"python-specialist": scripted_runner(isolation="worktree")}
    config = written(tmp_path / "config.json", agents={"runners": runners, **agents})
    with serving(tmp_path, root, config=config, environment=environment) as running:
        yield running


def hook(root: Path, script: str) -> None:
    path = root / ".git" / "hooks" / "post-checkout"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def branches(root: Path) -> list[str]:
    return git(root, "branch", "--format=%(refname:short)").split()


def spawned(sidecar: SidecarProcess, steps: list[dict[str, Any]], **options: Any) -> SpawnedAgent:
    return spawn_scripted(sidecar, steps, **{"isolation": "worktree", "issue": fresh("issue"), **options})


def refusal(sidecar: SidecarProcess) -> str:
    """Why an agent with its own worktree could not be started."""
    body = {"agent_type": "python-specialist", "issue_id": fresh("issue"), "isolation": "worktree"}
    answer = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body, timeout=90)
    assert answer.status_code == 500, answer.text
    assert answer.json()["code"] == "AGT_001"
    message: str = answer.json()["message"]
    return message


def test_a_failing_hook_is_named_with_its_output_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    hook(root, "echo the dependencies are not there; exit 3")
    with team(tmp_path, root) as sidecar:
        message = refusal(sidecar)
        assert "the hook post-checkout failed (exit 3)" in message
        assert "the dependencies are not there" in message
        assert branches(root) == ["main"]
        assert git(root, "worktree", "list").count("\n") == 1
        assert not list((sidecar.storage / "worktrees").glob("*"))


def test_a_slow_hook_is_stopped_at_the_configured_limit_and_named(tmp_path: Path, root: Path) -> None:
    hook(root, "sleep 600")
    with team(tmp_path, root, worktree_timeout_seconds=1) as sidecar:
        message = refusal(sidecar)
        assert "ran longer than 1 s (agents.worktree_timeout_seconds)" in message
        assert "running the hook post-checkout" in message
        assert branches(root) == ["main"]


def test_hooks_see_what_the_agent_sees(tmp_path: Path, root: Path) -> None:
    hook(root, 'env > "hook.env"')
    with team(tmp_path, root, {"CCO_SIDECAR_JWT_SECRET": "s" * 40}) as sidecar:
        agent = spawned(sidecar, [{"do": "run", "command": ["cat", "hook.env"]}])
        assert agent.wait()["status"] == "completed"
        text = Path(agent.get()["worktree"], "hook.env").read_text()
        assert "AGENT_ID=" in text and "s" * 40 not in text and "CCO_SIDECAR" not in text


def test_a_branch_named_like_the_prefix_is_not_a_problem(tmp_path: Path, root: Path) -> None:
    git(root, "branch", "agent")
    with team(tmp_path, root) as sidecar:
        agent = spawned(sidecar, [{"do": "write", "path": "a", "text": "a"}, *COMMIT])
        ended = agent.wait()
        assert ended["status"] == "completed", ended
        assert ended["branch"] in branches(root) and ended["branch"].endswith(agent.id)


def test_the_branch_prefix_is_configurable(tmp_path: Path, root: Path) -> None:
    with team(tmp_path, root, branch_prefix="bots/work-") as sidecar:
        agent = spawned(sidecar, [{"do": "write", "path": "a", "text": "a"}, *COMMIT])
        assert agent.wait()["branch"] == f"bots/work-{agent.id}"


def test_a_sidecar_started_by_a_git_hook_makes_worktrees_of_its_own_repository(tmp_path: Path, root: Path) -> None:
    """Git sets GIT_DIR and more for its hooks (githooks(5))."""
    other = small_repository(tmp_path / "other")
    head = git(other, "rev-parse", "HEAD")
    leaked = {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": str(other / ".git/index")}
    with team(tmp_path, root, leaked) as sidecar:
        agent = spawned(sidecar, [{"do": "write", "path": "a", "text": "a"}, *COMMIT])
        assert agent.wait()["status"] == "completed"
        assert agent.get()["branch"] in branches(root)
    assert branches(other) == ["main"] and git(other, "rev-parse", "HEAD") == head
    assert subprocess.run(["git", "status", "--porcelain"], cwd=other, capture_output=True, check=True).stdout == b""


def test_the_next_agent_of_an_issue_continues_the_work_of_the_last_one(tmp_path: Path, root: Path) -> None:
    with team(tmp_path, root) as sidecar:
        issue = fresh("issue")
        first = spawned(sidecar, [{"do": "write", "path": "first.py", "text": "first\n"}, *COMMIT], issue=issue)
        assert first.wait()["status"] == "completed"
        plain = spawned(sidecar, [{"do": "run", "command": ["test", "!", "-e", "first.py"]}], issue=issue)
        assert plain.wait()["status"] == "completed"
        body = {
            "agent_type": "python-specialist",
            "issue_id": issue,
            "isolation": "worktree",
            "base": "issue",
            "environment": {"TASK_SCRIPT": '[{"do": "run", "command": ["cat", "first.py"]}]'},
        }
        second = SpawnedAgent(sidecar, call(sidecar, "POST", "/api/agents/spawn", sidecar.operator, json=body))
        assert second.wait()["status"] == "completed"
        assert "first" in second.logs()


def test_a_base_implies_a_worktree(tmp_path: Path, root: Path) -> None:
    with team(tmp_path, root) as sidecar:
        body = {"agent_type": "python-specialist", "issue_id": "issue-1", "base": "head"}
        agent = SpawnedAgent(sidecar, call(sidecar, "POST", "/api/agents/spawn", sidecar.operator, json=body))
        ended = agent.wait()
        assert (ended["isolation"], ended["branch"]) == ("worktree", f"agent/{agent.id}"), ended


def test_an_agent_in_a_worktree_has_the_context_of_its_worktree(tmp_path: Path, root: Path) -> None:
    with team(tmp_path, root) as sidecar:
        steps: list[dict[str, Any]] = [
            {"do": "write", "path": "only_in_my_worktree.py", "text": "def mine():\n    return 1\n"},
            {"do": "sleep", "seconds": 600},
        ]
        agent = spawned(sidecar, steps, issue="issue-worktree")
        until(lambda: Path(agent.get()["worktree"], "only_in_my_worktree.py").exists(), "the agent's file")
        assert agent.token is not None
        headers = {"Authorization": f"Bearer {agent.token}"}
        path = "/api/context/issue-worktree/python-specialist"
        own = sidecar.request("GET", path, headers=headers).json()
        others = sidecar.request("GET", path, sidecar.operator).json()
        name = "only_in_my_worktree.py"
        assert name in str(own["context"]) and name not in str(others["context"])


def test_the_output_of_a_failing_hook_contains_no_secrets(tmp_path: Path, root: Path) -> None:
    hook(root, 'echo "the key is $DEMO_KEY"; exit 1')
    with team(tmp_path, root, None, credentials_key_file=str(tmp_path / "key")) as sidecar:
        stored = sidecar.request(
            "PUT", "/api/credentials/DEMO_KEY", sidecar.operator, json={"value": "a-secret-value-of-mine"}
        )
        assert stored.status_code in (200, 201), stored.text
        body = {
            "agent_type": "python-specialist",
            "issue_id": fresh("issue"),
            "isolation": "worktree",
            "credentials": ["DEMO_KEY"],
        }
        answer = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body, timeout=60)
        assert answer.status_code == 500 and "the key is [secret]" in answer.json()["message"], answer.text


def test_a_repository_without_a_commit_is_reported(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    with team(tmp_path, empty) as sidecar:
        assert "has no commit yet" in refusal(sidecar)

        def record() -> dict[str, Any]:
            (agent,) = call(sidecar, "GET", "/api/agents")["agents"]
            return dict(agent)

        until(lambda: record()["status"] == "failed", "the end of the agent")
        assert (record()["branch"], record()["worktree"]) == ("", "")
        assert not list((sidecar.storage / "worktrees").glob("*"))
