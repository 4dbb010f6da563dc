"""Runners, sidecars and connections that end at a bad moment: no agent runs twice at once, and none is forgotten."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.repositories import git
from tests.support.runners import TICKS, RunnerProcess, agent, ended, listed, lives, never_twice, output, spawn, usable
from tests.support.sidecars import call, port_options, until, written

from cco_sidecar.testing.process import SidecarProcess

# The shortest.
LOST_AFTER = 20
SLEEP = ["sleep", "600"]

Join = Callable[..., RunnerProcess]


class Place:
    """A sidecar on the same ports and storage each time, and runners that have joined it."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory, self._root, self._ports = directory, root, port_options()
        runner = {"command": ["sh", "-c", TICKS], "retry": {"attempts": 3, "backoff_seconds": 0}}
        sections = {"agents": {"runners": {"default": runner}}, "cluster": {"lost_after_seconds": LOST_AFTER}}
        self._config = written(directory / "config.json", **sections)
        self.runners: list[RunnerProcess] = []
        self.sidecar = self.start()

    def start(self) -> SidecarProcess:
        storage = self.directory / "storage"
        self.sidecar = SidecarProcess(storage, self._root, *self._ports, config=self._config)
        return self.sidecar

    def join(self, name: str, *options: str, again: bool = False, project: Path | None = None) -> RunnerProcess:
        """``project``: the runner's repository; that of the sidecar unless given."""
        wanted = ("--project", str(project or self._root), "--capacity", "10", *options)
        self.runners.append(RunnerProcess.of(self.directory / name, self.sidecar, name, *wanted, again=again))
        return self.runners[-1]

    def close(self) -> None:
        # It ends the agents at the runners, as long as these are there.
        self.sidecar.stop()
        for each in self.runners:
            each.end(signal.SIGKILL)


@pytest.fixture
def place(tmp_path: Path, root: Path) -> Iterator[Place]:
    made = Place(tmp_path, root)
    yield made
    made.close()


def ticking(place: Place, *tags: str) -> tuple[str, Path]:
    """An agent that says all the time that it lives, and where."""
    said = place.directory / f"ticks-{next(_numbers)}"
    agent_id = spawn(place.sidecar, [], *tags, environment={"TASK_FILE": str(said)})
    until(lambda: lives(said), "a sign of life")
    return agent_id, said


_numbers = itertools.count()


def assert_over(said: Path) -> None:
    """Nobody says any more that he lives."""
    before = lives(said)
    until(lambda: _now() > max(end for _, end in before.values()) + 1, "a second")
    assert lives(said) == before


def _now() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def running(place: Place, agent_id: str, attempt: int) -> dict[str, Any] | None:
    found = agent(place.sidecar, agent_id)
    return found if (found["status"], found["attempt"]) == ("running", attempt) else None


def test_a_runner_that_is_killed_loses_its_agents_to_another(place: Place) -> None:
    first = place.join("first", "--tag", "x")
    agent_id, said = ticking(place, "x")
    place.join("second", "--tag", "x")
    first.end(signal.SIGKILL)
    found = until(lambda: running(place, agent_id, 2), "the second attempt", 90)
    assert found["runner_id"] == "second"
    until(lambda: len(lives(said)) > 1, "a sign of life of the second attempt")
    assert never_twice(said)
    call(place.sidecar, "DELETE", f"/api/agents/{agent_id}?force=true")
    assert "first" not in listed(place.sidecar)


def test_a_runner_that_stood_still_gives_up_what_was_given_to_others(place: Place) -> None:
    first = place.join("first", "--tag", "x")
    agent_id, said = ticking(place, "x")
    place.join("second", "--tag", "x")
    until(lambda: usable(place.sidecar, "second"), "the second runner")
    first.process.send_signal(signal.SIGSTOP)
    until(lambda: running(place, agent_id, 2), "the second attempt", 90)
    first.process.send_signal(signal.SIGCONT)
    until(lambda: usable(place.sidecar, "first"), "the first runner")
    until(lambda: len(lives(said)) > 1, "a sign of life of the second attempt")
    assert never_twice(said)
    # It is as good as new.
    again = spawn(place.sidecar, ["echo", "here"], "first")
    ended(place.sidecar, again)
    assert output(place.sidecar, again) == "here\n"
    assert not list((first.storage / "agents").glob(f"{agent_id}/1/output.log"))


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGKILL])
def test_a_runner_is_restarted_without_harm_to_its_agents(place: Place, tmp_path: Path, how: signal.Signals) -> None:
    runner, go_on = place.join("far"), tmp_path / "go-on"
    # The address of the API that it was given stays right.
    api = "curl -s -o /dev/null -w '%{http_code}\n' ${SIDECAR_URL%/api}/health"
    script = f"echo one; until test -e {go_on}; do sleep 0.05; done; {api}; exit 3"
    agent_id = spawn(place.sidecar, ["sh", "-c", script], "far")
    assert runner.end(how) == ""
    until(lambda: not usable(place.sidecar, "far"), "the end of the connection")
    place.join("far", again=True)
    go_on.touch()
    assert ended(place.sidecar, agent_id)["exit_code"] == 3
    assert output(place.sidecar, agent_id) == "one\n200\n"


def test_a_runner_that_is_stopped_ends_its_agents_which_go_on_elsewhere(place: Place) -> None:
    first = place.join("first", "--tag", "x")
    agent_id, said = ticking(place, "x")
    place.join("second", "--tag", "x")
    assert first.end() == ""
    found = until(lambda: running(place, agent_id, 2), "the second attempt", 15)
    assert found["runner_id"] == "second"
    until(lambda: len(lives(said)) > 1, "a sign of life of the second attempt")
    assert never_twice(said)


def test_a_runner_that_is_stopped_hands_over_the_commits_of_its_agents(place: Place, tmp_path: Path) -> None:
    clone, done = tmp_path / "clone", tmp_path / "done"
    git(tmp_path, "clone", "--quiet", str(place.sidecar.root), str(clone))
    runner = place.join("far", project=clone)
    who = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
    work = f"echo work > work.txt; git add .; {who} git commit --quiet --message work; touch {done}; sleep 600"
    agent_id = spawn(place.sidecar, ["sh", "-c", work], "far", isolation="worktree")
    until(done.exists, "the commit")
    assert runner.end() == ""
    found = ended(place.sidecar, agent_id)
    assert (found["status"], found["reason"]) == ("failed", "its runner was stopped")
    assert git(place.sidecar.root, "show", f"agent/{agent_id}:work.txt") == "work\n"


@pytest.mark.long
def test_a_runner_that_was_lost_brings_the_commits_when_it_is_back(place: Place, tmp_path: Path) -> None:
    clone, done = tmp_path / "clone", tmp_path / "done"
    git(tmp_path, "clone", "--quiet", str(place.sidecar.root), str(clone))
    runner = place.join("far", project=clone)
    who = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
    work = f"echo work > work.txt; git add .; {who} git commit --quiet --message work; touch {done}; sleep 600"
    agent_id = spawn(place.sidecar, ["sh", "-c", work], "far", isolation="worktree")
    until(done.exists, "the commit")
    runner.end(signal.SIGKILL)
    found = ended(place.sidecar, agent_id)
    assert (found["status"], found["reason"]) == ("failed", "its runner was lost")
    branch = f"agent/{agent_id}"
    assert git(place.sidecar.root, "branch", "--list", branch) == ""
    place.join("far", again=True, project=clone)
    until(lambda: git(place.sidecar.root, "branch", "--list", branch), "its branch", 150)
    assert git(place.sidecar.root, "show", f"{branch}:work.txt") == "work\n"


def test_a_sidecar_that_is_killed_finds_the_agents_of_its_runners(place: Place, tmp_path: Path) -> None:
    place.join("far")
    go_on = tmp_path / "go-on"
    command = ["sh", "-c", f"for i in 1 2 3; do echo $i; done; until test -e {go_on}; do sleep 0.05; done; echo end"]
    agent_id = spawn(place.sidecar, command, "far")
    token_file = place.directory / "far" / "storage" / "agents" / agent_id / "1" / "agent" / "token"
    assert token_file.exists()
    place.sidecar.kill()
    place.start()
    until(lambda: usable(place.sidecar, "far"), "the runner")
    assert agent(place.sidecar, agent_id)["status"] == "running"
    go_on.touch()
    found = ended(place.sidecar, agent_id)
    assert (found["status"], found["attempt"], output(place.sidecar, agent_id)) == ("completed", 1, "1\n2\n3\nend\n")


def test_an_end_while_the_sidecar_is_away_is_told_when_it_is_back(place: Place) -> None:
    runner = place.join("far")
    agent_id = spawn(place.sidecar, ["sh", "-c", "echo said; sleep 1; exit 0"], "far")
    place.sidecar.kill()
    until(lambda: (runner.storage / "agents" / agent_id / "1" / "exit.json").exists(), "the end")
    place.start()
    found = ended(place.sidecar, agent_id)
    assert (found["status"], output(place.sidecar, agent_id)) == ("completed", "said\n")


def test_a_stop_reaches_a_runner_that_is_away_for_a_moment(place: Place) -> None:
    runner = place.join("far")
    agent_id, said = ticking(place, "far")
    runner.process.send_signal(signal.SIGSTOP)
    with pytest.raises(requests.Timeout):
        place.sidecar.request("DELETE", f"/api/agents/{agent_id}?force=true", place.sidecar.operator, timeout=1)
    runner.process.send_signal(signal.SIGCONT)
    assert ended(place.sidecar, agent_id)["status"] == "stopped"
    assert_over(said)


@pytest.mark.long
def test_a_sidecar_stops_although_a_runner_is_away(place: Place) -> None:
    runner = place.join("far")
    agent_id, said = ticking(place, "far")
    runner.process.send_signal(signal.SIGSTOP)
    # In less than the 30 seconds that are waited for.
    assert place.sidecar.stop() == ""
    runner.process.send_signal(signal.SIGCONT)
    place.start()
    found = ended(place.sidecar, agent_id)
    assert found["status"] == "stopped", found
    assert_over(said)


def test_a_sidecar_is_restarted_although_a_runner_does_not_answer_an_order(place: Place) -> None:
    runner = place.join("far")
    said = place.directory / "ticks"
    runner.process.send_signal(signal.SIGSTOP)
    body = {"agent_type": "python-specialist", "issue_id": "i", "runner_tags": ["far"]}
    variables = {"environment": {"TASK_FILE": str(said)}}
    with pytest.raises(requests.Timeout):
        place.sidecar.request("POST", "/api/agents/spawn", place.sidecar.operator, json=body | variables, timeout=1)
    began = _now()
    place.sidecar.process.send_signal(signal.SIGHUP)
    place.sidecar.process.communicate(timeout=30)
    assert _now() - began < 10
    place.start()
    runner.process.send_signal(signal.SIGCONT)
    until(lambda: lives(said), "a sign of life", 90)
    (found,) = call(place.sidecar, "GET", "/api/agents")["agents"]
    until(lambda: agent(place.sidecar, found["agent_id"])["status"] == "running", "the report of it")
    assert never_twice(said)


def test_the_agents_of_a_revoked_runner_end(place: Place) -> None:
    place.join("far", "--tag", "x")
    agent_id, said = ticking(place, "x")
    call(place.sidecar, "POST", "/api/tokens/revoke", json={"agent_id": "far"})
    until(lambda: not usable(place.sidecar, "far"), "the end of the connection")
    until(lambda: agent(place.sidecar, agent_id)["status"] == "pending", "the end of the attempt", 60)
    assert_over(said)


def test_an_attempt_that_was_being_started_is_not_started_twice(place: Place) -> None:
    """The runner stands still when it gets the order, and goes on after the sidecar has given it up."""
    first = place.join("first", "--tag", "x")
    place.join("second", "--tag", "x", "--capacity", "1")
    occupied = spawn(place.sidecar, SLEEP, "second")
    said = place.directory / "ticks"
    first.process.send_signal(signal.SIGSTOP)
    body = {"agent_type": "python-specialist", "issue_id": "i", "runner_tags": ["first"]}
    variables = {"environment": {"TASK_FILE": str(said)}}
    with pytest.raises(requests.Timeout):
        place.sidecar.request("POST", "/api/agents/spawn", place.sidecar.operator, json=body | variables, timeout=2)
    (found,) = [each for each in call(place.sidecar, "GET", "/api/agents")["agents"] if each["issue_id"] == "i"]
    until(lambda: "first" not in listed(place.sidecar), "the loss")
    first.process.send_signal(signal.SIGCONT)
    until(lambda: usable(place.sidecar, "first"), "the first runner")
    until(lambda: len(lives(said)) > 0, "a sign of life")
    # The order is carried out after the runner has joined again, or another attempt is made.
    until(lambda: agent(place.sidecar, found["agent_id"])["status"] == "running", "the report of it")
    until(lambda: _now() > max(end for _, end in lives(said).values()) - 1, "a moment")
    assert len(lives(said)) == 1
    call(place.sidecar, "DELETE", f"/api/agents/{occupied}?force=true")
