"""Projects that are named by the URL of their repository: contexts, worktrees and runners work as with a directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repositories import commit_all, git
from tests.support.runners import RunnerProcess, ended, output, spawn
from tests.support.sidecars import call, refused, small_repository, until, written

from cco_sidecar.testing.process import SidecarProcess

REFRESH = 5


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_repository(tmp_path_factory.mktemp("remote") / "shop")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, root: Path, remote: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("sidecar")
    projects = {"shop": f"file://{remote}", "gone": f"file://{directory}/nothing"}
    config = written(directory / "config.json", projects=projects, sidecar={"refresh_projects_seconds": REFRESH})
    sidecar = SidecarProcess(directory / "storage", root, config=config)
    until(lambda: (sidecar.storage / "projects" / "shop").is_dir(), "the clone")
    yield sidecar
    assert sidecar.stop() == ""


def context(sidecar: SidecarProcess) -> str:
    path = "/api/context/issue-1/technical-writer?project_id=shop"
    return sidecar.request("GET", path, sidecar.operator).text


def test_its_context_follows_the_remote(served: SidecarProcess, remote: Path) -> None:
    assert "# Small" in context(served)
    (remote / "NEWS.md").write_text("# News of today\n")
    commit_all(remote, "news")
    until(lambda: "News of today" in context(served), "the new file", 4 * REFRESH)


def test_an_agent_works_in_a_worktree_of_it(served: SidecarProcess, remote: Path) -> None:
    agent_id = spawn(served, ["cat", "README.md"], project_id="shop", isolation="worktree")
    assert ended(served, agent_id)["status"] == "completed"
    assert output(served, agent_id) == "# Small\n"


def test_one_that_cannot_be_cloned_says_why(served: SidecarProcess) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "project_id": "gone"}
    said = refused(served, 503, "PRJ_002", "POST", "/api/agents/spawn", served.operator, json=body)["message"]
    assert "cannot read file://" in said
    refused(served, 503, "PRJ_002", "GET", "/api/context/i/technical-writer?project_id=gone", served.operator)


def test_a_runner_clones_it_too(served: SidecarProcess, remote: Path, tmp_path: Path) -> None:
    runner = RunnerProcess.of(tmp_path / "runner", served, "far", "--project", f"shop=file://{remote}")
    try:
        until(lambda: (runner.storage / "projects" / "shop").is_dir(), "the runner's clone")
        who = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
        command = ["sh", "-c", f"{who} git commit --quiet --allow-empty --message 'from afar'"]
        agent_id = spawn(served, command, "far", project_id="shop", isolation="worktree")
        assert ended(served, agent_id)["status"] == "completed"
        place = served.storage / "projects" / "shop"
        assert git(place, "log", "-1", "--format=%s", f"agent/{agent_id}") == "from afar\n"
        assert call(served, "GET", f"/api/agents/{agent_id}")["runner_id"] == "far"
    finally:
        assert runner.end() == ""
