"""Agents in their own git worktree and branch: what they commit is kept, what is merged is cleaned up."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.repositories import commit_all, git
from tests.support.sidecars import call, fresh, refused, small_repository, until
from tests.support.spawned import resume
from tests.support.succession import Succession, scripted_runner

from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

WHO = ["git", "-c", "user.name=Agent", "-c", "user.email=agent@example.com"]
RUNNERS = {
    "python-specialist": scripted_runner(output="stream-json", isolation="worktree"),
    "go-specialist": scripted_runner(),
}


def commits(*paths: str, message: str = "Work") -> list[dict[str, Any]]:
    """Steps that commit everything."""
    return [
        *({"do": "write", "path": path, "text": f"# {path}\n"} for path in paths),
        {"do": "run", "command": ["git", "add", "--all"]},
        {"do": "run", "command": [*WHO, "commit", "--quiet", "--message", message]},
    ]


class Place:
    """A repository, and sidecars that serve it."""

    def __init__(self, directory: Path) -> None:
        self.root = small_repository(directory / "repository")
        self.sidecars = Succession(directory, self.root, runners=RUNNERS)

    @property
    def sidecar(self) -> SidecarProcess:
        return self.sidecars.sidecar

    def spawn(self, steps: list[dict[str, Any]], **options: Any) -> SpawnedAgent:
        return spawn_scripted(self.sidecar, steps, **{"isolation": "worktree", "issue": fresh("issue"), **options})

    def path_of(self, agent: SpawnedAgent) -> Path:
        return self.sidecars.storage / "worktrees" / agent.id

    def branches(self) -> list[str]:
        return git(self.root, "branch", "--format=%(refname:short)", "--list", "agent/*").split()

    def worktrees(self) -> list[str]:
        listed = git(self.root, "worktree", "list", "--porcelain").splitlines()
        found = [Path(line.split()[1]) for line in listed if line.startswith("worktree ")]
        return [path.name for path in found if path != self.root]

    def clean_up(self) -> None:
        """Runs the periodic clean-up, which also runs at every start."""
        # Worktrees are checked in name order: when the last one is removed, all have been checked.
        loose = fresh("loose")
        last = self.spawn([{"do": "write", "path": loose, "text": ""}], agent_type="web-accessibility-checker")
        assert last.wait()["status"] == "completed"
        self.sidecars.sidecar.stop()
        (self.path_of(last) / loose).unlink()
        self.sidecars.open()
        until(lambda: not self.path_of(last).exists(), "the end of the clean-up")

    def now(self, agent: SpawnedAgent) -> SpawnedAgent:
        return self.sidecars.now(agent)

    def assert_kept(self, *agents: SpawnedAgent) -> None:
        """The worktrees and branches still exist, even after a clean-up."""
        self.clean_up()
        for agent in agents:
            assert self.path_of(agent).is_dir() and f"agent/{agent.id}" in self.branches()
            assert self.now(agent).get()["worktree"] == str(self.path_of(agent))

    def assert_removed(self, *agents: SpawnedAgent) -> None:
        """The worktrees and branches are removed, and the records say so."""
        self.clean_up()
        for agent in agents:
            assert not self.path_of(agent).exists() and f"agent/{agent.id}" not in self.branches()
            assert self.now(agent).get()["worktree"] == ""


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Place]:
    """For tests that break something."""
    made = Place(tmp_path)
    yield made
    made.sidecars.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"))
    yield made
    made.sidecars.close()


def test_an_agent_works_on_its_own_branch(place: Place) -> None:
    head = git(place.root, "rev-parse", "HEAD").strip()
    steps = [
        {"do": "run", "command": ["pwd"]},
        *commits("src.py", message="Add src"),
        {"do": "result", "decisions": ["done"]},
    ]
    agent = place.spawn(steps, issue="issue-branch")
    ended = agent.wait()
    branch = f"agent/{agent.id}"
    assert ended["status"] == "completed", ended
    assert (ended["branch"], ended["worktree"], ended["isolation"]) == (branch, str(place.path_of(agent)), "worktree")
    assert agent.logs()[0] == str(place.path_of(agent))
    (result,) = call(place.sidecar, "GET", "/api/results?issue_id=issue-branch")["results"]
    assert result["branch"] == branch and result["agent_id"] == agent.id
    assert git(place.root, "log", "--format=%s", f"{head}..{branch}").split("\n")[0] == "Add src"
    assert not (place.root / "src.py").exists() and git(place.root, "rev-parse", "HEAD").strip() == head
    assert git(place.root, "status", "--porcelain") == ""


def test_an_unmerged_branch_stays_and_a_merged_one_is_removed(place: Place) -> None:
    agent = place.spawn(commits("merged.py"))
    assert agent.wait()["status"] == "completed"
    place.assert_kept(agent)
    git(place.root, "merge", "--quiet", "--no-edit", f"agent/{agent.id}")
    place.assert_removed(agent)
    assert (place.root / "merged.py").exists()
    assert place.now(agent).get()["branch"] == f"agent/{agent.id}", "the name is still known"


def test_uncommitted_changes_keep_the_worktree(place: Place) -> None:
    changed = place.spawn([{"do": "write", "path": "README.md", "text": "changed\n"}])
    untracked = place.spawn([{"do": "write", "path": "new.py", "text": "new\n"}])
    for agent in (changed, untracked):
        agent.wait()
    place.assert_kept(changed, untracked)
    assert (place.path_of(untracked) / "new.py").read_text() == "new\n"
    assert (place.path_of(changed) / "README.md").read_text() == "changed\n"


def test_commits_on_no_branch_keep_the_worktree(place: Place) -> None:
    agent = place.spawn([{"do": "run", "command": ["git", "checkout", "--quiet", "--detach"]}, *commits("adrift.py")])
    assert agent.wait()["status"] == "completed"
    place.assert_kept(agent)
    assert (place.path_of(agent) / "adrift.py").exists()


def test_an_unused_worktree_is_removed_at_once(place: Place) -> None:
    agent = place.spawn([{"do": "exit", "code": 1}])
    assert agent.wait()["status"] == "failed"
    until(lambda: not place.path_of(agent).exists() and f"agent/{agent.id}" not in place.branches(), "its end")
    until(lambda: agent.get()["worktree"] == "", "the record of it")


def test_a_discarded_worktree_is_removed_with_its_contents(place: Place) -> None:
    agent = place.spawn(
        [*commits("half.py"), {"do": "write", "path": "more.py", "text": "x"}, {"do": "sleep", "seconds": 600}]
    )
    path = f"/api/agents/{agent.id}/worktree"
    until((place.path_of(agent) / "more.py").exists, "its work")
    refused(place.sidecar, 409, "AGT_005", "DELETE", path, place.sidecar.operator)
    agent.stop(force=True)
    refused(place.sidecar, 403, "AUTH_003", "DELETE", path, place.sidecar.agent("chief-architect", project="default"))
    answer = call(place.sidecar, "DELETE", path)
    assert answer == {"discarded": True, "branch": f"agent/{agent.id}"}
    assert not place.path_of(agent).exists() and f"agent/{agent.id}" not in place.branches()
    assert agent.id not in place.worktrees() and agent.get()["worktree"] == ""
    refused(place.sidecar, 404, "AGT_006", "DELETE", path, place.sidecar.operator)
    plain = place.spawn([{"do": "exit", "code": 0}], isolation="none")
    plain.wait()
    refused(place.sidecar, 404, "AGT_006", "DELETE", f"/api/agents/{plain.id}/worktree", place.sidecar.operator)


def test_agents_cannot_prune_worktrees_that_they_do_not_see(place: Place) -> None:
    agent = place.spawn(commits("kept.py"))
    agent.wait()
    other = place.spawn([{"do": "run", "command": ["git", "worktree", "prune", "--expire", "now"]}], isolation="none")
    assert other.wait()["status"] == "completed"
    assert agent.id in place.worktrees()
    assert call(place.sidecar, "DELETE", f"/api/agents/{agent.id}/worktree")["discarded"]
    assert agent.id not in place.worktrees() and not place.path_of(agent).exists()


def test_two_concurrent_agents_do_not_see_each_other(place: Place, tmp_path: Path) -> None:
    def steps(name: str, other: str) -> list[dict[str, Any]]:
        return [
            *commits(f"{name}.py", message=name),
            {"do": "write", "path": str(tmp_path / name), "text": ""},
            {"do": "until", "path": str(tmp_path / other)},
            {"do": "run", "command": ["sh", "-c", "ls; git log --format=%s -1"]},
        ]

    with ThreadPoolExecutor() as pool:
        one, two = pool.map(place.spawn, (steps("one", "two"), steps("two", "one")))
    for agent, name in ((one, "one"), (two, "two")):
        assert agent.wait()["status"] == "completed"
        assert [line for line in agent.logs() if line in ("one.py", "two.py", "one", "two")] == [f"{name}.py", name]
    for agent in (one, two):
        git(place.root, "merge", "--quiet", "--no-edit", f"agent/{agent.id}")
    place.assert_removed(one, two)


def test_ten_concurrent_agents_have_ten_worktrees(place: Place) -> None:
    with ThreadPoolExecutor(10) as pool:
        agents = list(pool.map(lambda number: place.spawn(commits(f"of-{number}.py")), range(10)))
    for agent in agents:
        assert agent.wait()["status"] == "completed", agent.get()["reason"]
    assert {agent.id for agent in agents} <= set(place.worktrees())
    for agent in agents:
        call(place.sidecar, "DELETE", f"/api/agents/{agent.id}/worktree")
    assert not {f"agent/{agent.id}" for agent in agents} & set(place.branches())


def test_a_resumed_agent_continues_in_its_worktree(place: Place) -> None:
    """Even if the worktree was cleaned up a moment before."""
    kept = place.spawn([{"do": "run", "command": ["sh", "-c", "ls; touch left-$AGENT_ATTEMPT"]}])
    empty = place.spawn([{"do": "run", "command": ["pwd"]}])
    for agent in (kept, empty):
        agent.wait()
        resume(place.sidecar, agent)
        ended = agent.wait()
        assert (ended["status"], ended["attempt"]) == ("completed", 2), ended["reason"]
    assert "left-1" in kept.logs()
    assert empty.logs() == [str(place.path_of(empty))]
    stored = call(place.sidecar, "GET", "/api/agents?status=completed&limit=1000")["agents"]
    attempts = {each["agent_id"]: each["attempt"] for each in stored}
    assert (attempts[kept.id], attempts[empty.id]) == (2, 2)


def test_agents_resumed_at_the_moment_they_end_complete(place: Place) -> None:
    script = [{"do": "run", "command": ["sh", "-c", "test $AGENT_ATTEMPT = 1 || sleep 600"]}]
    agents = [place.spawn(script) for _ in range(6)]
    for agent in agents:
        agent.wait()
        resume(place.sidecar, agent)
    # The removal of an empty worktree may be in progress; the agent has one nevertheless, and its record is true.
    running = call(place.sidecar, "GET", "/api/agents?status=running&limit=1000")["agents"]
    for agent in agents:
        found = agent.get()
        assert (found["status"], found["worktree"]) == ("running", str(place.path_of(agent))), found
        assert (place.path_of(agent) / "README.md").exists()
    place.sidecars.crash()
    place.sidecars.open()
    for agent in map(place.now, agents):
        assert agent.get()["status"] == "running", agent.get()["reason"]
        agent.stop(force=True)
    assert {agent.id for agent in agents} <= {each["agent_id"] for each in running}


def test_an_agent_resumed_during_a_clean_up_keeps_its_worktree(place: Place) -> None:
    """The clean-up neither removes nor overwrites what belongs to an agent that runs again."""
    commit = " ".join([*WHO, "commit", "--quiet", "--message", "Work"])
    script = f"test $AGENT_ATTEMPT = 1 || exec sleep 600; touch $AGENT_ID; git add --all; {commit}"
    agents = [place.spawn([{"do": "run", "command": ["sh", "-c", script]}]) for _ in range(5)]
    for agent in agents:
        assert agent.wait()["status"] == "completed"
        git(place.root, "merge", "--quiet", "--no-edit", f"agent/{agent.id}")
    place.sidecar.stop()
    place.sidecars.open()
    agents = [place.now(agent) for agent in agents]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda agent: call(place.sidecar, "POST", f"/api/agents/{agent.id}/resume", json={}), agents))
    # An agent without work is cleaned up after them.
    last = place.spawn([{"do": "exit", "code": 0}])
    last.wait()
    until(lambda: not place.path_of(last).exists(), "the end of the clean-up")
    listed = call(place.sidecar, "GET", "/api/agents?status=running&limit=1000")["agents"]
    for agent in agents:
        assert agent.get()["status"] == "running", agent.get()["reason"]
        assert (place.path_of(agent) / "README.md").exists()
        assert agent.id in [each["agent_id"] for each in listed], "the record says so too"
        agent.stop(force=True)


def test_worktrees_of_agents_that_ended_with_their_sidecar_are_cleaned_up(place: Place) -> None:
    agents = [place.spawn([{"do": "sleep", "seconds": 600}]) for _ in range(4)]
    place.assert_removed(*agents)


def test_a_worktree_survives_a_crash(place: Place, tmp_path: Path) -> None:
    agent = place.spawn([*commits("early.py"), {"do": "until", "path": str(tmp_path / "go")}, *commits("late.py")])
    until((place.path_of(agent) / "early.py").exists, "its first work")
    place.sidecars.crash()
    place.sidecars.open()
    (tmp_path / "go").touch()
    agent = place.now(agent)
    assert agent.wait()["status"] == "completed"
    assert len(git(place.root, "log", "--format=%s", f"HEAD..agent/{agent.id}").split()) == 2
    place.assert_kept(agent)


def test_the_files_of_a_final_answer_are_the_agents_own(place: Place, tmp_path: Path) -> None:
    """Even if somebody else commits meanwhile."""
    issue = fresh("issue-files")
    steps = [
        *commits("made.py"),
        {"do": "write", "path": "README.md", "text": "other words\n"},
        {"do": "write", "path": "loose.py", "text": "not committed\n"},
        {"do": "until", "path": str(tmp_path / "go")},
        {"do": "report", "result": "Made made.py"},
    ]
    agent = place.spawn(steps, command=[], isolation=None, issue=issue)
    until((place.path_of(agent) / "loose.py").exists, "its work")
    (place.root / "elsewhere.py").write_text("somebody else's\n")
    commit_all(place.root, "Somebody else's")
    (tmp_path / "go").touch()
    ended = agent.wait()
    assert ended["status"] == "completed" and ended["isolation"] == "worktree"
    (result,) = call(place.sidecar, "GET", f"/api/results?issue_id={issue}")["results"]
    assert result["branch"] == f"agent/{agent.id}"
    work = result["result"]
    assert sorted(work["files_created"]) == ["loose.py", "made.py"]
    assert work["files_modified"] == ["README.md"]
    assert work["files_deleted"] == []


def test_a_project_without_git_has_no_worktrees(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "README.md").write_text("# No repository\n")
    sidecars = Succession(tmp_path, tmp_path / "plain")
    try:
        body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "isolation": "worktree"}
        error = refused(
            sidecars.sidecar, 500, "AGT_001", "POST", "/api/agents/spawn", sidecars.sidecar.operator, json=body
        )
        assert "worktree" in error["message"]
        (agent,) = call(sidecars.sidecar, "GET", "/api/agents")["agents"]
        assert (
            SpawnedAgent(sidecars.sidecar, {"agent_id": agent["agent_id"], "jwt_token": None}).wait()["status"]
            == "failed"
        )
    finally:
        sidecars.close()


def test_discarded_work_leaves_nothing_in_the_repository(place: Place) -> None:
    done = subprocess.run(
        ["git", "worktree", "prune", "--dry-run", "--verbose"],
        cwd=place.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_half_made_worktree_is_recreated(alone: Place, tmp_path: Path) -> None:
    """git and the sidecar are killed during the checkout."""
    gate, waits = tmp_path / "gate", tmp_path / "waits"
    for number in range(20):
        (alone.root / f"file-{number}.txt").write_text(f"{number}\n")
    (alone.root / ".gitattributes").write_text("*.txt filter=slow\n")
    commit_all(alone.root, "Files that take their time")
    smudge = f"touch '{waits}'; while [ ! -e '{gate}' ]; do sleep 0.02; done; cat"
    git(alone.root, "config", "filter.slow.smudge", f'sh -c "{smudge}"')
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "isolation": "worktree",
            "command": ["sh", "-c", "git status --short; cat file-19.txt"]}  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        spawning = pool.submit(alone.sidecar.request, "POST", "/api/agents/spawn", alone.sidecar.operator, json=body)
        until(waits.exists, "git at work")
        (agent,) = call(alone.sidecar, "GET", "/api/agents")["agents"]
        alone.sidecars.crash()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if "git" in process.name() and str(alone.root) in process.cmdline():
                    # Including the checkout processes, which would otherwise finish.
                    for each in (*process.children(recursive=True), process):
                        each.kill()
        gate.touch()
        assert spawning.exception(30) is not None
    alone.sidecars.open()
    resumed = alone.now(SpawnedAgent(alone.sidecar, {"agent_id": agent["agent_id"], "jwt_token": None}))
    ended = resumed.wait()
    assert (ended["status"], ended["last_output"]) == ("completed", ["19"]), ended


def test_a_worktree_that_git_reports_as_failed_is_not_kept(alone: Place) -> None:
    """Its post-checkout hook fails after the worktree was made."""
    hook = alone.root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no such luck >&2\nexit 7\n")
    hook.chmod(0o755)
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "isolation": "worktree"}
    error = refused(alone.sidecar, 500, "AGT_001", "POST", "/api/agents/spawn", alone.sidecar.operator, json=body)
    assert "no such luck" in error["message"]
    assert alone.worktrees() == [] and list((alone.sidecars.storage / "worktrees").iterdir()) == []


@pytest.mark.parametrize("emptied", [False, True])
def test_a_worktree_that_was_removed_manually_is_recreated(alone: Place, *, emptied: bool) -> None:
    agent = alone.spawn([{"do": "write", "path": "loose", "text": ""}])
    agent.wait()
    shutil.rmtree(alone.path_of(agent))
    if emptied:
        alone.path_of(agent).mkdir()
    call(alone.sidecar, "POST", f"/api/agents/{agent.id}/resume", json={})
    assert agent.wait()["status"] == "completed"
    assert (alone.path_of(agent) / "loose").exists() and (alone.path_of(agent) / "README.md").exists()
