"""One runner for two sidecars, through the address of one of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.runners import TICKS, RunnerProcess, agent, ended, lives, never_twice, output, spawn, usable
from tests.support.sidecars import until
from tests.support.team import Team, cluster_of, id_of

from cco_sidecar.testing.process import SidecarProcess

pytestmark = pytest.mark.cluster

LOST_AFTER = 20


@pytest.fixture
def team(tmp_path: Path, root: Path, postgres_url: str, nats_url: str) -> Iterator[Team]:
    ticking = {"command": ["sh", "-c", TICKS], "retry": {"attempts": 3, "backoff_seconds": 0}}
    sections = {"agents": {"runners": {"default": ticking}}, "cluster": {"lost_after_seconds": LOST_AFTER}}
    made = Team(tmp_path, root, postgres_url, nats_url, **sections)
    made.start("one")
    made.start("two")
    until(lambda: all(len(cluster_of(each)["members"]) == 2 for each in made.running), "both to know each other")
    yield made
    made.stop()


@pytest.fixture
def runner(team: Team, root: Path) -> Iterator[RunnerProcess]:
    made = RunnerProcess.of(team.directory / "far", team.running[0], "far", "--project", str(root), "--capacity", "10")
    until(lambda: all(usable(each, "far") for each in team.running), "the connection with both")
    yield made
    made.end(signal.SIGKILL)


def test_either_sidecar_starts_agents_there_and_either_shows_them(team: Team, runner: RunnerProcess) -> None:
    one, two = team.running
    for sidecar, other in ((one, two), (two, one)):
        agent_id = spawn(sidecar, ["echo", "from afar"], "far")
        found = ended(other, agent_id)
        assert (found["status"], found["sidecar_id"], found["runner_id"]) == ("completed", id_of(sidecar), "far")
        assert output(sidecar, agent_id) == "from afar\n"
        logs = other.request("GET", f"/api/agents/{agent_id}/logs", other.operator).text
        assert "from afar" in logs
    agent_id = spawn(two, ["sleep", "600"], "far")
    answer = one.request("DELETE", f"/api/agents/{agent_id}?force=true", one.operator)
    assert answer.json()["status"] == "stopped"


def test_both_together_start_no_more_agents_there_than_it_takes(team: Team, root: Path) -> None:
    options = ("--project", str(root), "--capacity", "1")
    small = RunnerProcess.of(team.directory / "small", team.running[0], "small", *options)
    until(lambda: all(usable(each, "small") for each in team.running), "the connection with both")
    said = team.directory / "said"
    command = ["sh", "-c", f"echo begins >> {said}; sleep 0.2; echo ends >> {said}"]
    with ThreadPoolExecutor() as pool:
        made = [(each, pool.submit(spawn, each, command, "small")) for each in team.running * 5]
    found = [ended(sidecar, spawned.result()) for sidecar, spawned in made]
    assert {(each["status"], each["attempt"]) for each in found} == {("completed", 1)}
    assert said.read_text() == "begins\nends\n" * 10
    small.end()


def test_a_runner_counts_the_agents_of_a_sidecar_that_it_has_not_reached_yet(team: Team, root: Path) -> None:
    one, two = team.running
    options = ("--project", str(root), "--capacity", "1", "--tag", "x")
    former = RunnerProcess.of(team.directory / "small", one, "small", *options)
    until(lambda: all(usable(each, "small") for each in team.running), "the connection with both")
    occupied = spawn(two, ["sleep", "600"], "x")
    two.process.send_signal(signal.SIGSTOP)
    former.end(signal.SIGHUP)
    runner = RunnerProcess.of(team.directory / "small", one, "small", *options, again=True)
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "runner_tags": ["x"]}
    spawned = one.request("POST", "/api/agents/spawn", one.operator, json=body).json()
    assert (spawned["status"], spawned["queue_position"]) == ("pending", 1)
    two.process.send_signal(signal.SIGCONT)
    until(lambda: usable(two, "small"), "the connection with the second")
    two.request("DELETE", f"/api/agents/{occupied}?force=true", two.operator)
    assert ended(one, spawned["agent_id"])["status"] == "completed"
    runner.end()


@pytest.mark.long
def test_agents_of_a_sidecar_that_stopped_are_not_continued_before_they_have_ended(
    tmp_path: Path, root: Path, postgres_url: str, nats_url: str
) -> None:
    """Their runner stands still, so that the sidecar stops without knowing. They have a lease of a minute."""
    ticking = {"command": ["sh", "-c", TICKS], "retry": {"attempts": 3, "backoff_seconds": 0}}
    team = Team(tmp_path, root, postgres_url, nats_url, agents={"runners": {"default": ticking}})
    one, two = team.start("one"), team.start("two")
    until(lambda: len(cluster_of(one)["members"]) == 2, "the other")
    options = ("--project", str(root), "--tag", "x")
    far = RunnerProcess.of(tmp_path / "far", one, "far", *options)
    until(lambda: usable(two, "far"), "the connection with the second")
    said = tmp_path / "ticks"
    spawn(two, [], "x", environment={"TASK_FILE": str(said)})
    until(lambda: lives(said), "a sign of life")
    near = RunnerProcess.of(tmp_path / "near", one, "near", *options)
    far.process.send_signal(signal.SIGSTOP)
    try:
        assert two.stop() == ""
        until(lambda: len(lives(said)) == 2, "the second attempt", 120)
        before = lives(said)["2"][1]
        until(lambda: lives(said)["2"][1] > before + 5, "some signs of life")
        assert never_twice(said)
    finally:
        far.process.send_signal(signal.SIGCONT)
        far.end(signal.SIGKILL)
        near.end(signal.SIGKILL)
        one.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_agents_of_a_sidecar_that_is_lost_are_continued_by_the_other_at_the_same_runner(
    team: Team, runner: RunnerProcess, how: signal.Signals
) -> None:
    one, two = team.running
    said = team.directory / "ticks"
    agent_id = spawn(two, [], "far", environment={"TASK_FILE": str(said)})
    until(lambda: lives(said), "a sign of life")
    if how is signal.SIGKILL:
        two.kill()
    else:
        two.process.send_signal(how)
    found = until(lambda: _second(one, agent_id), "the second attempt", 120)
    assert (found["sidecar_id"], found["runner_id"]) == (id_of(one), "far")
    until(lambda: len(lives(said)) == 2, "a sign of life of the second attempt")
    if how is signal.SIGSTOP:
        two.process.send_signal(signal.SIGCONT)
        until(lambda: usable(two, "far"), "the connection with the second")
    assert never_twice(said)
    assert agent(one, agent_id)["status"] == "running"


def _second(sidecar: SidecarProcess, agent_id: str) -> dict[str, object] | None:
    answer = sidecar.request("GET", f"/api/agents/{agent_id}", sidecar.operator)
    found: dict[str, object] = answer.json() if answer.ok else {}
    return found if (found.get("status"), found.get("attempt")) == ("running", 2) else None
