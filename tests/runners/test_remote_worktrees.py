"""Worktrees at a runner, between two real repositories: what the sidecar removes with them, and what it keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.repositories import commit_all, git

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners.remote_worktrees import SidecarWorktrees
from cco_sidecar.runners.worktrees import Worktrees
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent


def projects(root: Path) -> Any:
    return SimpleNamespace(root=lambda project: root, foreign_to=lambda root: [])


class Far:
    """A runner with a repository of its own, asked without a connection in between."""

    usable = True

    def __init__(self, directory: Path, root: Path) -> None:
        self.own = Worktrees(directory, projects(root), "cco/")
        self.worktrees = ("a",)

    async def ask(self, order: pb.AttendRunnerResponse, patience: float | None = None) -> pb.RunnerAnswer:
        agent = order.worktree.agent
        if order.worktree.action == pb.WORKTREE_ACTION_TIDY:
            await self.own.tidy(agent, order.worktree.merged_commit)
        else:
            assert order.worktree.action == pb.WORKTREE_ACTION_DISCARD
            agent.worktree = ""
        return pb.RunnerAnswer(worktree=agent.worktree)


class Place:
    """A sidecar whose repository has the branch that an agent made at the runner."""

    def __init__(self, directory: Path) -> None:
        self.root, there = directory / "here", directory / "there"
        self.root.mkdir()
        (self.root / "one").write_text("1")
        commit_all(self.root)
        git(directory, "clone", "--quiet", str(self.root), str(there))
        git(self.root, "switch", "--quiet", "--create", "cco/a")
        (self.root / "work").write_text("w")
        commit_all(self.root, "work")
        git(self.root, "switch", "--quiet", "-")
        self.far = Far(directory / "storage-there", there)
        hub: Any = SimpleNamespace(runners={"far": self.far})
        self.worktrees = SidecarWorktrees(directory / "storage-here", projects(self.root), "cco/", hub)
        gone = directory / "storage-there" / "worktrees" / "a"
        self.agent = Agent(agent_id="a", runner_id="far", branch="cco/a", worktree=str(gone))

    @property
    def has_branch(self) -> bool:
        return bool(git(self.root, "branch", "--list", "cco/a"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_runner_that_has_nothing_any_more_takes_no_commits_from_here(place: Place) -> None:
    """Its machine was reinstalled before the work was merged."""
    assert await place.worktrees.tidy(place.agent)
    assert place.agent.worktree == "" and place.has_branch


async def test_a_branch_goes_once_it_is_merged(place: Place) -> None:
    git(place.root, "merge", "--quiet", "--ff-only", "cco/a")
    assert await place.worktrees.tidy(place.agent)
    assert place.agent.worktree == "" and not place.has_branch


async def test_a_branch_goes_when_it_is_discarded(place: Place) -> None:
    await place.worktrees.discard(place.agent)
    assert not place.has_branch


async def test_a_runner_that_is_away_keeps_its_worktree(place: Place) -> None:
    assert place.worktrees.there_are() == ["a"]
    place.far.usable = False
    assert place.worktrees.there_are() == []
    assert not await place.worktrees.tidy(place.agent)
    with pytest.raises(SidecarError, match="runner far is not connected"):
        await place.worktrees.discard(place.agent)
    assert place.agent.worktree and place.has_branch
