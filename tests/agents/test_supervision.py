"""Agents under a sidecar: the queue, retries, statuses, stops, logs, what they are given, and what stays of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import requests
from tests.support.clocked import ClockedSidecar, Hands
from tests.support.processes import end_all, lives, of_run, pid_in, tells_its_pid, words_of
from tests.support.repositories import commit_all
from tests.support.sidecars import call, events, fresh, refused, small_repository, until, written
from tests.support.succession import Succession, nothing_written, scripted_runner

from cco_sidecar.testing.agents import ENDED, SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import agent_service_pb2 as pb

Spawn = Callable[..., SpawnedAgent]
SECRET = "a-secret-of-the-sidecar-that-is-long-enough"
SLEEP: list[dict[str, Any]] = [{"do": "sleep", "seconds": 600}]
RUNNERS: dict[str, Any] = {
    "python-specialist": scripted_runner(output="stream-json"),
    "test-engineer": scripted_runner(retry={"attempts": 3, "backoff_seconds": 0.2}),
    "qa-engineer": scripted_runner(retry={"attempts": 3, "backoff_seconds": 3600}),
    "debugger": scripted_runner(stuck_after_seconds=1),
    "go-specialist": scripted_runner(stdin="prompt"),
    "rust-specialist": scripted_runner(limits={"memory_mb": 80, "processes": 6, "open_files": 40, "output_mb": 1}),
    "swift-specialist": {"command": ["no-program-of-this-name", "{task}"]},
    "code-reviewer": {"command": ["{workdir}/reviewer", "{issue_id}", "{model}"]},
    "chief-architect": scripted_runner(),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = small_repository(tmp_path_factory.mktemp("root") / "repository")
    (path / "notes").mkdir()
    (path / "notes" / "plan.xyz").write_text("the plan\n")
    reviewer = path / "reviewer"
    reviewer.write_text('#!/bin/sh\necho "reviewing $1 in $PWD"\n')
    reviewer.chmod(0o755)
    commit_all(path)
    return path


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("sidecar")
    config = written(directory / "config.json", agents={"max_concurrent": 0, "runners": RUNNERS})
    environment = {"CCO_SIDECAR_JWT_SECRET": SECRET, "SIDECAR_LEFT_OVER": "x", "PLAIN_VARIABLE": "plain"}
    running = SidecarProcess(directory / "storage", root, config=config, environment=environment)
    yield running
    errors = running.stop()
    left = end_all(running.storage / "agents")
    assert (errors, left) == ("", [])


@pytest.fixture
def narrow(tmp_path: Path, root: Path) -> Iterator[Succession]:
    """A sidecar with room for one agent."""
    made = Succession(tmp_path, root, max_concurrent=1, runners=RUNNERS)
    yield made
    made.close()


def steps_until(path: Path) -> list[dict[str, Any]]:
    return [{"do": "until", "path": str(path)}]


def appends(path: Path, text: str) -> dict[str, Any]:
    return {"do": "run", "command": ["sh", "-c", f"echo {text} >> '{path}'"]}


def events_of(agent: SpawnedAgent, sidecar: SidecarProcess) -> list[str]:
    """Types of the events about an agent, oldest first."""
    return [each["event_type"] for each in events(sidecar, "default") if each["data"].get("agent_id") == agent.id]


def directory_of(sidecar: SidecarProcess, agent: SpawnedAgent, attempt: int = 1) -> Path:
    return sidecar.storage / "agents" / agent.id / str(attempt)


def files_of(sidecar: SidecarProcess, agent: SpawnedAgent) -> list[str]:
    directory = sidecar.storage / "agents" / agent.id
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() or path.is_fifo())


def as_agent(agent: SpawnedAgent) -> Agent:
    assert agent.token is not None
    return Agent(agent.id, "python-specialist", "issue-123", "default", agent.token)


# -- the queue ------------------------------------------------------------------------------------------


def test_who_waits_is_started_by_priority_and_then_by_age(narrow: Succession, tmp_path: Path) -> None:
    first = narrow.spawn(steps_until(tmp_path / "go"))
    queued = {
        name: narrow.spawn([appends(tmp_path / "order", name)], priority=name.split("-")[0])
        for name in ("low", "normal", "high", "normal-2", "normal-3")
    }
    places = {"high": 1, "normal": 2, "normal-2": 3, "normal-3": 4, "low": 5}
    assert [queued["low"].spawned[key] for key in ("spawned", "status", "queue_position")] == [False, "pending", 1]
    assert queued["high"].spawned["queue_position"] == 1 and queued["normal-3"].spawned["queue_position"] == 4
    for name, place in places.items():
        found = queued[name].get()
        assert (found["status"], found["queue_position"], found["attempt"]) == ("pending", place, 0), name
        assert queued[name].token is None and queued[name].spawned["process_id"] is None
    listed = call(narrow.sidecar, "GET", "/api/agents")
    assert [listed[key] for key in ("running", "queued", "max_concurrent")] == [1, 5, 1]
    stopped = queued["normal-2"].stop()
    assert (stopped["stopped"], stopped["status"]) == (True, "stopped")
    assert (queued["normal-3"].get()["queue_position"], queued["low"].get()["queue_position"]) == (3, 4)
    (tmp_path / "go").touch()
    for name, agent in queued.items():
        assert agent.wait()["status"] == ("stopped" if name == "normal-2" else "completed"), name
    assert (tmp_path / "order").read_text().split() == ["high", "normal", "normal-3", "low"]
    assert first.wait()["status"] == "completed"
    assert not (narrow.storage / "agents" / queued["normal-2"].id).exists(), "it was never started"


def test_an_agent_that_cannot_start_gives_its_place_to_the_next(narrow: Succession, tmp_path: Path) -> None:
    narrow.spawn(steps_until(tmp_path / "go"))
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x7fELF nothing")
    nonsense.chmod(0o755)
    broken = narrow.spawn([], command=[str(nonsense)])
    next_one = narrow.spawn([{"do": "exit", "code": 0}])
    (tmp_path / "go").touch()
    ended = broken.wait()
    assert ended["status"] == "failed" and "Exec format error" in ended["reason"], ended
    assert next_one.wait()["status"] == "completed"
    assert events_of(broken, narrow.sidecar) == ["agent_failed"]


def test_a_stop_while_the_disk_is_slow_does_not_cost_a_place(narrow: Succession, tmp_path: Path) -> None:
    """The agent fails, is to be tried again, and is stopped before that is on disk."""
    agent = narrow.spawn(
        [*steps_until(tmp_path / "go"), {"do": "exit", "code": 1}], agent_type="test-engineer", command=[]
    )
    process = agent.get()["process_id"]
    with ThreadPoolExecutor() as pool:
        with nothing_written(narrow.storage):
            (tmp_path / "go").touch()
            until(lambda: not lives(process), "its end")
            stop = pool.submit(agent.stop)
            until(lambda: open_streams(narrow.sidecar), "the stop")
        assert stop.result(timeout=30)["status"] == "stopped"
    assert narrow.spawn([{"do": "exit", "code": 0}]).wait()["status"] == "completed", "there is room for the next"
    assert agent.get()["status"] == "stopped"
    assert call(narrow.sidecar, "GET", "/api/agents")["running"] == 0


def test_the_log_of_a_queued_agent_is_followed_to_its_end(narrow: Succession, tmp_path: Path) -> None:
    narrow.spawn(steps_until(tmp_path / "go"))
    agent = narrow.spawn([{"do": "print", "text": "at last"}])
    with ThreadPoolExecutor() as pool:
        followed = pool.submit(follow, narrow.sidecar, agent)
        until(lambda: open_streams(narrow.sidecar), "the stream")
        (tmp_path / "go").touch()
        assert followed.result(timeout=30) == ["at last"]


def open_streams(sidecar: SidecarProcess) -> bool:
    """Somebody is connected to the REST door besides this look."""
    found = psutil.Process(sidecar.process.pid).net_connections(kind="tcp")
    return (
        len([each for each in found if each.status == psutil.CONN_ESTABLISHED and each.laddr.port == sidecar.port]) > 0
    )


def follow(sidecar: SidecarProcess, agent: SpawnedAgent, query: str = "") -> list[str]:
    answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs?follow=true{query}", sidecar.operator, timeout=60)
    return [line["text"] for part in answer.text.splitlines() for line in json.loads(part)["lines"]]


def test_a_queued_agent_has_no_sign_of_life_to_give(narrow: Succession, tmp_path: Path) -> None:
    narrow.spawn(steps_until(tmp_path / "go"))
    agent = narrow.spawn(SLEEP)
    answer = narrow.sidecar.request(
        "POST", f"/api/agents/{agent.id}/heartbeat", narrow.sidecar.operator, json={"percent": 5}
    )
    assert answer.status_code < 500, answer.text
    assert agent.get()["status"] == "pending"
    agent.stop(force=True)
    (tmp_path / "go").touch()


# -- retries --------------------------------------------------------------------------------------------


def test_an_agent_that_fails_is_tried_again_with_longer_and_longer_pauses(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    agent = scripted_agent(
        [{"do": "env", "name": "AGENT_ATTEMPT"}, {"do": "exit", "code": 7}], agent_type="test-engineer", command=[]
    )
    ended = agent.wait()
    assert (ended["status"], ended["attempt"], ended["max_attempts"]) == ("failed", 3, 3), ended
    assert (ended["exit_code"], ended["reason"]) == (7, "it exited with 7") and "retry_at" not in ended
    assert events_of(agent, sidecar) == ["agent_spawned"] * 3 + ["agent_failed"]
    starts = [
        each["timestamp"]
        for each in events(sidecar, "default", "agent_spawned")
        if each["data"]["agent_id"] == agent.id
    ]
    pauses = [later - earlier for earlier, later in zip(map(seconds, starts), map(seconds, starts[1:]), strict=False)]
    assert pauses[0] >= 0.2 and pauses[1] >= 0.4, pauses
    for attempt in (1, 2, 3):
        answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs?attempt={attempt}", sidecar.operator)
        assert f"AGENT_ATTEMPT={attempt}" in answer.text
    until(
        lambda: files_of(sidecar, agent) == ["1/output.log", "2/output.log", "3/output.log"], "nothing but the output"
    )


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_an_attempt_that_succeeds_is_the_last(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        [{"do": "run", "command": ["sh", "-c", "test $AGENT_ATTEMPT = 2"]}], agent_type="test-engineer", command=[]
    )
    ended = agent.wait()
    assert (ended["status"], ended["attempt"], ended["exit_code"]) == ("completed", 2, 0)
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_spawned", "agent_completed"]


def test_an_attempt_does_not_show_how_the_one_before_ended(scripted_agent: Spawn, tmp_path: Path) -> None:
    waits = f"touch '{tmp_path}/second'; while [ ! -e '{tmp_path}/go' ]; do sleep 0.02; done"
    script = f"test $AGENT_ATTEMPT = 1 && exit 7; {waits}; kill -9 $PPID"
    agent = scripted_agent([{"do": "run", "command": ["sh", "-c", script]}], agent_type="test-engineer", command=[])
    until((tmp_path / "second").exists, "the second attempt")
    running = agent.wait("running")
    assert running["attempt"] == 2
    assert not {"exit_code", "ended_at", "signal", "peak_memory_bytes"} & running.keys(), running
    (tmp_path / "go").touch()
    agent.wait("pending", "failed")
    ended = agent.wait()
    assert (ended.get("signal"), ended.get("exit_code"), ended["attempt"]) == ("SIGKILL", None, 3), ended


def test_an_agent_that_asked_and_failed_does_not_ask_in_its_next_attempt(scripted_agent: Spawn, tmp_path: Path) -> None:
    steps = [
        {
            "do": "run",
            "command": ["sh", "-c", f"test $AGENT_ATTEMPT = 1 || while [ ! -e '{tmp_path}/go' ]; do sleep 0.02; done"],
        },
        {"do": "heartbeat", "message": "what now?", "needs_input": True},
        {"do": "exit", "code": 1},
    ]
    agent = scripted_agent(steps, agent_type="test-engineer", command=[])
    until(lambda: agent.get()["attempt"] == 2 and agent.get()["status"] != "pending", "the second attempt")
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert agent.get()["status"] == "running", "it has asked for nothing yet"
    (tmp_path / "go").touch()
    assert agent.wait()["status"] == "failed"


def test_an_agent_that_waits_for_its_next_attempt_can_be_stopped(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    agent = scripted_agent([{"do": "exit", "code": 7}], agent_type="qa-engineer", command=[])
    until(lambda: agent.get().get("retry_at"), "the pause")
    assert agent.stop()["status"] == "stopped"
    found = agent.get()
    assert (found["status"], found["reason"], found["attempt"]) == ("stopped", "stopped by the operator", 1)
    assert "retry_at" not in found
    assert files_of(sidecar, agent) == ["1/output.log"]


# -- signs of life --------------------------------------------------------------------------------------


def test_silence_makes_an_agent_stuck_and_a_word_lets_it_run_again(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    steps = [
        *steps_until(tmp_path / "go"),
        {"do": "heartbeat", "percent": 40, "message": "on it"},
        *steps_until(tmp_path / "end"),
    ]
    agent = scripted_agent(steps, agent_type="debugger", command=[])
    stuck = agent.wait("stuck")
    assert stuck["reason"].startswith("no call, heartbeat or output for ")
    (tmp_path / "go").touch()
    running = agent.wait("running")
    assert running["reason"] == "attempt 1"
    assert (running["progress"]["percent"], running["progress"]["message"]) == (40, "on it")
    (tmp_path / "end").touch()
    assert agent.wait()["status"] == "completed"
    assert events_of(agent, sidecar)[:2] == ["agent_spawned", "agent_stuck"]


def test_an_agent_that_calls_or_prints_is_not_stuck(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    says = {"do": "print", "text": "still here"}
    calls = {"do": "call", "method": "GET", "path": "/events?limit=1"}
    agents = [
        scripted_agent(
            [{"do": "repeat", "steps": [step], "until": str(tmp_path / "go")}], agent_type="debugger", command=[]
        )
        for step in (says, calls)
    ]
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 3.5, "more than the limit of silence, and a look")
    (tmp_path / "go").touch()
    for agent in agents:
        assert agent.wait()["status"] == "completed"
        assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


def test_an_agent_that_stands_still_is_stuck_until_it_goes_on(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    agent = scripted_agent(steps_until(tmp_path / "go"))
    process = agent.get()["process_id"]
    os.kill(process, signal.SIGSTOP)
    assert "stopped by a signal" in agent.wait("stuck")["reason"]
    os.kill(process, signal.SIGCONT)
    agent.wait("running")
    (tmp_path / "go").touch()
    assert agent.wait()["status"] == "completed"
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_stuck", "agent_completed"]


def test_an_agent_that_waits_for_a_person_says_so(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    steps = [
        {"do": "heartbeat", "message": "which database?", "needs_input": True},
        *steps_until(tmp_path / "go"),
        {"do": "heartbeat", "message": "thanks"},
        *steps_until(tmp_path / "end"),
    ]
    agent = scripted_agent(steps, agent_type="debugger", command=[])
    asking = agent.wait("needs_input")
    assert asking["reason"] == "which database?"
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 2.5, "more than the limit of silence")
    assert agent.get()["status"] == "needs_input", "who waits for a person is not stuck"
    (tmp_path / "go").touch()
    assert agent.wait("running")["progress"]["message"] == "thanks"
    (tmp_path / "end").touch()
    assert agent.wait()["status"] == "completed"


def test_a_heartbeat_is_the_agents_own(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent, other = scripted_agent(SLEEP), scripted_agent(SLEEP)
    path = f"/api/agents/{agent.id}/heartbeat"
    assert call(sidecar, "POST", path, as_agent(agent), json={"percent": 1})["status"] == "running"
    refused(sidecar, 403, "AUTH_003", "POST", path, as_agent(other), json={"percent": 1})
    refused(sidecar, 400, "REQ_001", "POST", path, as_agent(agent), json={"percent": 101})
    agent.stop(force=True)
    refused(sidecar, 401, "AUTH_001", "POST", path, as_agent(agent), json={"percent": 1})
    refused(sidecar, 409, "AGT_005", "POST", path, sidecar.operator, json={"percent": 1})


# -- stopping -------------------------------------------------------------------------------------------


def test_a_stop_ends_the_whole_family(sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path) -> None:
    child, far = tells_its_pid(tmp_path / "child", "exec sleep 600"), tells_its_pid(tmp_path / "far")
    agent = scripted_agent(
        [{"do": "start", "command": child}, {"do": "start", "command": far, "detached": True}, *SLEEP]
    )
    pids = [agent.get()["process_id"], pid_in(tmp_path / "child"), pid_in(tmp_path / "far")]
    stopped = agent.stop(timeout=1)
    assert (stopped["stopped"], stopped["status"], stopped["reason"]) == (True, "stopped", "stopped by the operator")
    assert [pid for pid in pids if lives(pid)] == [], "the answer came when nothing was left"
    found = agent.get()
    assert (found["status"], found["signal"]) == ("stopped", "SIGTERM") and "process_id" not in found
    assert agent.stop()["stopped"] is False
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_stopped"]
    assert files_of(sidecar, agent) == ["1/output.log"]


def test_a_forced_stop_does_not_wait(scripted_agent: Spawn, tmp_path: Path) -> None:
    agent = scripted_agent([{"do": "ignore", "signal": "SIGTERM"}, {"do": "print", "text": "deaf"}, *SLEEP])
    until(agent.logs, "a line")
    started = time.monotonic()
    assert agent.stop(force=True, timeout=600)["status"] == "stopped"
    assert agent.get()["signal"] == "SIGKILL" and time.monotonic() - started < 5


def test_two_stops_at_once_both_answer_and_the_sharper_one_counts(scripted_agent: Spawn, tmp_path: Path) -> None:
    agent = scripted_agent([{"do": "ignore", "signal": "SIGTERM"}, {"do": "print", "text": "deaf"}, *SLEEP])
    until(agent.logs, "a line")
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        stops = [
            pool.submit(agent.stop, timeout=60),
            pool.submit(agent.stop, timeout=60),
            pool.submit(agent.stop, timeout=0.5),
        ]
        assert {stop.result(timeout=30)["status"] for stop in stops} == {"stopped"}
    assert time.monotonic() - started < 15


def test_agents_that_are_stopped_while_they_start_are_stopped(sidecar: SidecarProcess) -> None:
    issue = fresh("issue-stop")
    ended: list[dict[str, Any]] = []

    def stop_all(until_gone: threading.Event) -> None:
        """Stops whatever it sees of the issue, as soon as it sees it."""
        seen: set[str] = set()
        while not until_gone.is_set():
            for each in call(sidecar, "GET", f"/api/agents?issue_id={issue}")["agents"]:
                if each["agent_id"] not in seen:
                    seen.add(each["agent_id"])
                    ended.append(call(sidecar, "DELETE", f"/api/agents/{each['agent_id']}?timeout=5"))

    done = threading.Event()
    with ThreadPoolExecutor(12) as pool:
        stopping = [pool.submit(stop_all, done)]
        spawning = [pool.submit(spawn_scripted, sidecar, SLEEP, issue=issue) for _ in range(10)]
        spawned = [each.result(timeout=60) for each in spawning]
        for agent in spawned:
            agent.wait("stopped")
        done.set()
        for each in stopping:
            each.result(timeout=60)
    assert {each["status"] for each in ended} == {"stopped"} and len(ended) == 10
    for agent in spawned:
        assert of_run(sidecar.storage / "agents" / agent.id) == []
        assert files_of(sidecar, agent) in (["1/output.log"], [])
        if agent.token:
            assert sidecar.request("GET", "/api/events", headers=agent.headers).status_code == 401


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_a_stop_goes_on_when_its_caller_goes_away(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any, door: str
) -> None:
    """The disk is slow, so that the stop is not done when the caller has had enough."""
    agent = scripted_agent(SLEEP)

    def ask() -> None:
        if door == "grpc":
            metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
            with pytest.raises(grpc.RpcError) as refusal:
                stubs.agents.StopAgent(pb.StopAgentRequest(agent_id=agent.id), metadata=metadata, timeout=0.5)
            assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            with pytest.raises(requests.Timeout):
                sidecar.request("DELETE", f"/api/agents/{agent.id}", sidecar.operator, timeout=0.5)

    def heard() -> bool:
        """A stop that waits behind others for the disk, and whose caller goes, was never begun."""
        with nothing_written(sidecar.storage):
            ask()
        return sidecar.request("GET", "/api/events?limit=1", headers=agent.headers).status_code == 401

    until(heard, "a stop that was begun")
    assert agent.wait(timeout=10)["status"] == "stopped"


def test_callers_of_a_stop_that_go_away_leave_no_agent_half_stopped(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any
) -> None:
    """They wait a millisecond and more: a stop that was never heard leaves the agent as it was."""
    agents = [scripted_agent(SLEEP) for _ in range(10)]
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    for number, agent in enumerate(agents):
        request = pb.StopAgentRequest(agent_id=agent.id, timeout=5)
        with suppress(grpc.RpcError):
            stubs.agents.StopAgent(request, metadata=metadata, timeout=0.001 * (number + 1))
    for agent in agents:
        if sidecar.request("GET", "/api/events?limit=1", headers=agent.headers).status_code == 401:
            assert agent.wait(timeout=15)["status"] == "stopped"


def test_a_keeper_that_does_not_answer_is_ended_itself(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        [{"do": "start", "command": ["sleep", "600"], "detached": True}, {"do": "print", "text": "on"}, *SLEEP]
    )
    until(agent.logs, "a line")
    keeper = psutil.Process(agent.get()["process_id"]).parent()
    assert keeper is not None
    keeper.suspend()
    assert agent.stop(force=True)["status"] == "stopped"
    assert of_run(directory_of(sidecar, agent)) == [] and not lives(keeper.pid)


def test_an_agent_that_ended_by_itself_is_not_called_stopped(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    """The stop comes when the agent has exited with 0 and what it left running has not."""
    deaf = f"trap '' TERM; touch '{tmp_path}/ready'; while :; do sleep 0.05; done"
    agent = scripted_agent(
        [{"do": "start", "command": ["sh", "-c", deaf], "detached": True}, *steps_until(tmp_path / "ready")]
    )
    process = agent.get().get("process_id", 0)
    until((tmp_path / "ready").exists, "its child")
    until(lambda: not lives(process), "its end")
    assert agent.get()["status"] == "running", "what it left is asked for two seconds"
    answer = agent.stop()
    found = agent.wait()
    assert (found["status"], found["exit_code"], answer["status"]) == ("completed", 0, "completed")
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


def test_a_stop_that_meets_the_end_agrees_with_what_is_announced(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    agent = scripted_agent(steps_until(tmp_path / "go"))
    process = agent.get()["process_id"]
    with ThreadPoolExecutor() as pool:
        with nothing_written(sidecar.storage):
            (tmp_path / "go").touch()
            until(lambda: not lives(process) and not of_run(directory_of(sidecar, agent)), "its end")
            stop = pool.submit(agent.stop)
            until(lambda: open_streams(sidecar), "the stop")
        stop.result(timeout=30)
    found = agent.wait()
    assert (found["status"], found["exit_code"]) == ("completed", 0), found
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


# -- ending ---------------------------------------------------------------------------------------------


def test_agents_that_exit_before_their_start_is_on_disk_end_as_they_did(sidecar: SidecarProcess) -> None:
    def spawn(code: int) -> SpawnedAgent:
        return spawn_scripted(sidecar, command=["sh", "-c", f"exit {code}"])

    with ThreadPoolExecutor(10) as pool:
        agents = list(pool.map(spawn, [0, 1] * 10))
    for number, agent in enumerate(agents):
        ended = agent.wait()
        assert (ended["status"], ended["exit_code"]) == (("completed", 0), ("failed", 1))[number % 2]
        assert events_of(agent, sidecar) == ["agent_spawned", ("agent_completed", "agent_failed")[number % 2]]
        assert "process_id" not in ended and ended["started_at"] <= ended["ended_at"]


def test_a_start_that_could_not_be_written_is_made_good(sidecar: SidecarProcess, tmp_path: Path) -> None:
    """The disk gives way after the agent's process runs, and comes back."""
    agents = sidecar.storage / "agents"
    before = set(agents.iterdir()) if agents.exists() else set()
    with ThreadPoolExecutor() as pool:
        spawning = pool.submit(spawn_scripted, sidecar, steps_until(tmp_path / "go"))
        (directory,) = until(
            lambda: {each for each in (agents.iterdir() if agents.exists() else ()) if (each / "1").exists()} - before,
            "its directory",
        )
        with nothing_written(sidecar.storage):
            agent = spawning.result(timeout=30)
            assert agent.id == directory.name and agent.spawned["spawned"] is True
    assert agent.get()["status"] == "running"
    until(lambda: events_of(agent, sidecar) == ["agent_spawned"], "the event of its start", timeout=5)
    listed = call(sidecar, "GET", "/api/agents?status=running")["agents"]
    assert agent.id in [each["agent_id"] for each in listed], "the record says so too"
    (tmp_path / "go").touch()
    assert agent.wait()["status"] == "completed"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([{"do": "allocate", "mb": 200}, *SLEEP], "MB of memory; the most is 80 MB"),
        ([{"do": "start", "command": ["sleep", "600"]}] * 8 + SLEEP, "it had 9 processes; the most is 6"),
        ([{"do": "open", "count": 100}], "limit: it had more than 40 files open"),
        ([{"do": "print", "text": "x" * 1000, "times": 3000}, *SLEEP], "limit: it printed more than 1 MB"),
    ],
)
def test_an_agent_that_hits_a_limit_fails_and_says_which(
    scripted_agent: Spawn, steps: list[dict[str, Any]], reason: str
) -> None:
    ended = scripted_agent(steps, agent_type="rust-specialist", command=[]).wait()
    assert ended["status"] == "failed" and reason in ended["reason"], ended["reason"]
    assert ended["reason"].startswith("limit: ")


def test_a_spawns_own_time_limit_counts(scripted_agent: Spawn) -> None:
    ended = scripted_agent(SLEEP, timeout_seconds=1).wait()
    assert (ended["status"], ended["reason"]) == ("failed", "limit: it ran longer than 1 s")


def test_a_keeper_that_is_killed_is_told_honestly_and_nothing_is_left(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    agent = scripted_agent([{"do": "start", "command": tells_its_pid(tmp_path / "child"), "detached": True}, *SLEEP])
    child_pid, process = pid_in(tmp_path / "child"), agent.get()["process_id"]
    keeper = psutil.Process(process).parent()
    assert keeper is not None
    keeper.kill()
    ended = agent.wait()
    assert ended["status"] == "failed" and "its keeper was killed" in ended["reason"]
    assert not lives(process) and not lives(child_pid)
    assert "exit_code" not in ended and "signal" not in ended
    until(lambda: files_of(sidecar, agent) == ["1/output.log"], "nothing but the output")


# What an agent, which runs as the same user, can do to its own run.
SPOILS = (
    'mkdir -p "$AGENT_RUN_DIR/deep/er"; touch "$AGENT_RUN_DIR/deep/er/file"',
    'rm -rf "$AGENT_RUN_DIR"',
    'rm "$AGENT_RUN_DIR/control"; echo nonsense > "$AGENT_RUN_DIR/keeper.json"',
    'mkdir "$AGENT_RUN_DIR/exit.json"',
    'mkdir "$AGENT_RUN_DIR/exit.json.tmp"',
    'rm "$AGENT_RUN_DIR/output.log"; mkfifo "$AGENT_RUN_DIR/output.log"',
)


def test_an_agent_that_spoils_its_own_directory_ends_all_the_same(tmp_path: Path, root: Path) -> None:
    lone = Succession(tmp_path, root, runners=RUNNERS)
    try:
        agents = {spoil: lone.spawn(command=["sh", "-c", f"{spoil}; exit 0"]) for spoil in SPOILS}
        deadline = time.monotonic() + 6
        while (hanging := [spoil for spoil, agent in agents.items() if agent.get()["status"] not in ENDED]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.05)
        left = [str(path) for path in (lone.storage / "agents").glob("*/1/*") if path.name != "output.log"]
        assert (hanging, left) == ([], [])
    finally:
        lone.crash()
        end_all(lone.storage / "agents")


def test_not_even_what_hides_its_mark_survives_a_killed_keeper(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    """Neither it nor what it started, and not as a zombie either."""
    child = tells_its_pid(tmp_path / "child", "sleep 600 & wait")[-1]
    hides = {"do": "start", "command": ["env", "-i", "/bin/sh", "-c", child], "detached": True}
    agent = scripted_agent([hides, *SLEEP])
    hidden = psutil.Process(pid_in(tmp_path / "child"))
    family = [hidden, *until(hidden.children, "its child")]
    keeper = psutil.Process(agent.get()["process_id"]).parent()
    assert keeper is not None
    keeper.kill()
    assert agent.wait()["status"] == "failed"
    left = [each for each in family if lives(each.pid)]
    for each in left:
        each.kill()
    assert left == [], "orphans"
    until(lambda: not any(each.is_running() for each in family), "the end of the zombies", timeout=5)


def test_thirty_agents_leave_nothing_behind_in_the_sidecar(sidecar: SidecarProcess) -> None:
    process = psutil.Process(sidecar.process.pid)

    def round_of(count: int) -> None:
        with ThreadPoolExecutor(6) as pool:
            agents = list(pool.map(lambda _: spawn_scripted(sidecar, [{"do": "context"}]), range(count)))
            for agent in agents:
                assert agent.wait()["status"] == "completed"
                assert agent.logs()
                assert follow(sidecar, agent)

    round_of(6)
    before = process.num_fds()
    round_of(30)
    # Connections that clients have just closed go a moment later.
    until(lambda: process.num_fds() <= before, f"no more than {before} open files", timeout=10)
    assert [each for each in process.children() if each.status() == psutil.STATUS_ZOMBIE] == []
    assert len(process.children()) == 0 or of_run(sidecar.storage / "agents")


def test_followers_that_go_away_leave_nothing_behind(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any
) -> None:
    agent = scripted_agent([{"do": "print", "text": "on"}, *SLEEP])
    until(agent.logs, "a line")
    process = psutil.Process(sidecar.process.pid)
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    before = process.num_fds()
    for _ in range(10):
        path = f"{sidecar.url}/api/agents/{agent.id}/logs?follow=true"
        with requests.get(path, headers=sidecar.operator.headers, stream=True, timeout=20) as answer:
            assert "on" in next(answer.iter_lines()).decode()
        stream = stubs.agents.StreamAgentLogs(
            pb.StreamAgentLogsRequest(agent_id=agent.id, follow=True), metadata=metadata
        )
        assert [line.text for line in next(stream).lines] == ["on"]
        stream.cancel()
    # One for the channel of this test.
    until(lambda: process.num_fds() <= before + 1, f"no more than {before + 1} open files")


def test_a_large_log_is_not_held_in_memory(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        command=["sh", "-c", "yes 'a line that a program prints again and again' | head -c 10000000"]
    )
    assert agent.wait()["status"] == "completed"
    proc = Path(f"/proc/{sidecar.process.pid}")
    # proc(5): from now on the peak is counted anew.
    (proc / "clear_refs").write_text("5")
    before = peak_memory(proc)
    with requests.get(
        f"{sidecar.url}/api/agents/{agent.id}/logs", headers=sidecar.operator.headers, stream=True, timeout=60
    ) as answer:
        size = sum(map(len, answer.iter_content(2**20)))
    assert size > 10_000_000
    grown = peak_memory(proc) - before
    assert grown < 64 * 2**20, f"{grown / 2**20:.0f} MB for a log of {size / 2**20:.0f} MB"


def peak_memory(proc: Path) -> int:
    (line,) = (line for line in (proc / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


# -- again ----------------------------------------------------------------------------------------------


def resume(sidecar: SidecarProcess, agent: SpawnedAgent, message: str = "") -> dict[str, Any]:
    def ask() -> requests.Response | None:
        answer = sidecar.request("POST", f"/api/agents/{agent.id}/resume", sidecar.operator, json={"message": message})
        return None if answer.status_code == 409 else answer

    answer = until(ask, "its end")
    assert answer is not None and answer.status_code == 200, answer.text if answer is not None else ""
    found: dict[str, Any] = answer.json()
    return found


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


def test_an_agent_that_is_said_to_have_ended_can_be_resumed(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    for _ in range(6):
        agent = scripted_agent(command=["sh", "-c", "sleep 0.1"])
        while agent.get()["status"] != "completed":
            pass
        call(sidecar, "POST", f"/api/agents/{agent.id}/resume", json={})


def test_a_resumed_agent_is_told_on_stdin(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "run", "command": ["cat"]}], agent_type="go-specialist", command=[])
    agent.wait()
    assert agent.logs()[0] == "what the script says"
    resume(sidecar, agent, "and now the tests")
    agent.wait()
    assert agent.logs()[0] == "and now the tests"


def test_an_agent_is_resumed_once_however_many_ask(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    agent = scripted_agent([{"do": "run", "command": ["sh", "-c", "test $AGENT_ATTEMPT = 1 || sleep 600"]}])
    agent.wait()
    until(lambda: files_of(sidecar, agent) == ["1/output.log"], "its end")

    def ask(_: int) -> int:
        return sidecar.request("POST", f"/api/agents/{agent.id}/resume", sidecar.operator, json={}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(ask, range(8)))
    assert answers == [200] + [409] * 7
    keepers = [each for each in of_run(sidecar.storage / "agents" / agent.id) if "keeper.py" in words_of(each)]
    assert len(keepers) == 1 and agent.get()["attempt"] == 2
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


def test_a_resumed_agent_that_stores_no_result_is_announced_all_the_same(
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


# -- logs -----------------------------------------------------------------------------------------------


def grpc_logs(stubs: Any, sidecar: SidecarProcess, **request: Any) -> list[pb.LogLine]:
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    answers = stubs.agents.StreamAgentLogs(pb.StreamAgentLogsRequest(**request), metadata=metadata, timeout=30)
    return [line for answer in answers for line in answer.lines]


def test_logs_are_the_same_over_both_doors(sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any) -> None:
    agent = scripted_agent(
        [
            {"do": "print", "text": "one"},
            {"do": "print", "text": "two é", "stream": "stderr"},
            {"do": "print", "text": "three"},
        ]
    )
    agent.wait()
    over_grpc = grpc_logs(stubs, sidecar, agent_id=agent.id)
    answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs", sidecar.operator)
    over_rest = [line for part in answer.text.splitlines() for line in json.loads(part)["lines"]]
    # Each stream keeps its order; lines of two streams may be read in another one.
    assert sorted(line["text"] for line in over_rest) == ["one", "three", "two é"]
    assert [(line.stream, line.text) for line in over_grpc] == [(line["stream"], line["text"]) for line in over_rest]
    assert {line["text"]: line["stream"] for line in over_rest} == {
        "one": "stdout",
        "two é": "stderr",
        "three": "stdout",
    }
    for tail, expected in ((0, 0), (2, 2), (100, 3)):
        assert len(grpc_logs(stubs, sidecar, agent_id=agent.id, tail=tail)) == expected
        assert len(rest_logs(sidecar, agent, f"?tail={tail}")) == expected
    assert rest_logs(sidecar, agent, "?tail=1") == [over_rest[-1]["text"]]
    refused = sidecar.request("GET", f"/api/agents/{agent.id}/logs?attempt=9", sidecar.operator)
    assert (refused.status_code, refused.json()["code"]) == (404, "AGT_009")


def rest_logs(sidecar: SidecarProcess, agent: SpawnedAgent, query: str = "") -> list[str]:
    answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs{query}", sidecar.operator)
    assert answer.status_code == 200, answer.text
    return [line["text"] for part in answer.text.splitlines() for line in json.loads(part)["lines"]]


def test_a_log_is_followed_line_by_line_over_both_doors(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any, tmp_path: Path
) -> None:
    steps = [{"do": "print", "text": "before"}, {"do": "print", "text": "last before"}]
    for name in ("go", "end"):
        steps += [*steps_until(tmp_path / name), {"do": "print", "text": f"after {name}"}]
    agent = scripted_agent(steps)
    until(lambda: len(agent.logs()) == 2, "two lines")
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    request = pb.StreamAgentLogsRequest(agent_id=agent.id, follow=True, tail=1)
    stream = stubs.agents.StreamAgentLogs(request, metadata=metadata, timeout=60)
    path = f"{sidecar.url}/api/agents/{agent.id}/logs?follow=true&tail=1"
    with requests.get(path, headers=sidecar.operator.headers, stream=True, timeout=60) as answer:
        lines = answer.iter_lines()
        for expected, name in (("last before", "go"), ("after go", "end"), ("after end", "")):
            assert [line.text for line in next(stream).lines] == [expected]
            assert [line["text"] for line in json.loads(next(lines))["lines"]] == [expected]
            if name:
                (tmp_path / name).touch()
        assert list(stream) == [] and list(lines) == []
    assert agent.wait()["status"] == "completed"


def test_a_log_is_read_by_its_agent_by_architects_and_by_nobody_else(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    agent, other = scripted_agent([{"do": "print", "text": "mine"}, *SLEEP]), scripted_agent(SLEEP)
    until(agent.logs, "a line")
    path = f"/api/agents/{agent.id}/logs"
    assert "mine" in sidecar.request("GET", path, as_agent(agent)).text
    assert "mine" in sidecar.request("GET", path, sidecar.agent("chief-architect", project="default")).text
    refused(sidecar, 403, "AUTH_003", "GET", path, as_agent(other))
    refused(sidecar, 404, "AGT_004", "GET", path, sidecar.agent("chief-architect", project="elsewhere"))
    refused(sidecar, 404, "AGT_004", "GET", "/api/agents/nobody/logs", sidecar.operator)


# -- what an agent is given -----------------------------------------------------------------------------


def test_what_an_agent_finds(sidecar: SidecarProcess, scripted_agent: Spawn, root: Path) -> None:
    names = (
        *("AGENT_ID", "AGENT_TYPE", "ISSUE_ID", "PROJECT_ID", "SIDECAR_URL", "SIDECAR_GRPC", "JWT_TOKEN"),
        *("JWT_TOKEN_FILE", "CONTEXT_FILE", "AGENT_TASK", "AGENT_ATTEMPT", "MINE", "PLAIN_VARIABLE", "PWD"),
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
        "JWT_TOKEN_FILE": str(run / "token"),
        "CONTEXT_FILE": str(run / "context.json"),
        "AGENT_TASK": "do é",
        "AGENT_ATTEMPT": "1",
        "MINE": "über",
        "PLAIN_VARIABLE": "plain",
        "PWD": "",
        "CCO_SIDECAR_JWT_SECRET": None,
        "SIDECAR_LEFT_OVER": None,
    }
    assert not [name for name in environment if name.startswith("CCO_SIDECAR_")]
    assert SECRET not in json.dumps(environment)
    # What it prints of its token does not come out.
    assert environment["JWT_TOKEN"] == "[token]" and agent.token not in str(agent.logs())


def test_the_files_of_an_agent_are_private_and_whole(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(SLEEP, issue="issue-files")
    run = directory_of(sidecar, agent)
    assert (run / "token").read_text() == f"{agent.token}\n"
    context = json.loads((run / "context.json").read_text())
    assert (context["issue_id"], context["agent_type"]) == ("issue-files", "python-specialist")
    assert context["context"]["git_context"]
    assert run.stat().st_mode & 0o077 == 0
    for name in ("token", "context.json", "prompt.md", "output.log"):
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
def test_an_environment_that_may_not_be_is_refused(sidecar: SidecarProcess, environment: dict[str, str]) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "environment": environment}
    assert (
        "environment"
        in refused(sidecar, 400, "REQ_001", "POST", "/api/agents/spawn", sidecar.operator, json=body)["message"]
    )


def spawn_refused(sidecar: SidecarProcess, status: int, code: str, **body: Any) -> str:
    full = {"agent_type": "python-specialist", "issue_id": "issue-refused", **body}
    message: str = refused(sidecar, status, code, "POST", "/api/agents/spawn", sidecar.operator, json=full)["message"]
    return message


def test_what_cannot_be_spawned_says_why_and_leaves_no_agent(sidecar: SidecarProcess) -> None:
    assert "nonsense" in spawn_refused(sidecar, 404, "AGT_002", agent_type="nonsense", command=["true"])
    assert "no-program" in spawn_refused(sidecar, 400, "REQ_001", command=["no-program"])
    assert "no-program-of-this-name" in spawn_refused(sidecar, 500, "AGT_001", agent_type="swift-specialist")
    assert "context_requirements" in spawn_refused(
        sidecar, 400, "REQ_001", command=["true"], context_requirements=["nonsense"]
    )
    spawn_refused(sidecar, 400, "REQ_001", command=["true"], timeout_seconds=-1)
    spawn_refused(sidecar, 400, "REQ_001", command=["sh", "-c", "a\0b"])
    assert call(sidecar, "GET", "/api/agents?issue_id=issue-refused")["agents"] == []


def test_a_credential_that_is_not_there_is_no_agent_that_failed(sidecar: SidecarProcess) -> None:
    issue = fresh("issue-credential")
    spawn_refused(sidecar, 404, "CRD_001", command=["true"], credentials=["NO_SUCH_CREDENTIAL"], issue_id=issue)
    assert call(sidecar, "GET", f"/api/agents?issue_id={issue}")["agents"] == []


def test_a_task_that_no_process_can_be_given_is_refused(sidecar: SidecarProcess) -> None:
    assert "task" in spawn_refused(sidecar, 400, "REQ_001", command=["true"], task="a\0b")


def test_a_task_of_the_greatest_length_can_be_given(scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "exit", "code": 0}], task="漢" * 100_000)
    assert agent.wait()["status"] == "completed"


def test_a_command_of_the_operator_runs_as_it_is(scripted_agent: Spawn) -> None:
    agent = scripted_agent(command=["echo", "{task}", "{model}", "{issue_id}"])
    agent.wait()
    assert agent.logs() == ["{task} {model} {issue_id}"]


def test_a_program_is_looked_for_where_it_runs(scripted_agent: Spawn, root: Path) -> None:
    agent = scripted_agent(command=["./reviewer", "it"])
    agent.wait()
    assert agent.logs() == [f"reviewing it in {root}"]


def test_a_runners_placeholders_are_filled_in_its_program_too(scripted_agent: Spawn, root: Path) -> None:
    agent = scripted_agent(agent_type="code-reviewer", command=[], issue="issue-x")
    agent.wait()
    assert agent.logs() == [f"reviewing issue-x in {root}"]


def test_required_files_are_in_the_context(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    def paths(**options: Any) -> set[str]:
        agent = scripted_agent(SLEEP, issue=fresh("issue-required"), **options)
        context = json.loads((directory_of(sidecar, agent) / "context.json").read_text())
        return {each["path"] for each in context["context"]["relevant_files"]}

    assert "notes/plan.xyz" not in paths()
    assert "notes/plan.xyz" in paths(context_requirements=["notes/*.xyz", "security_policies"])


def test_only_who_may_spawn_spawns_and_only_the_operator_names_a_command(sidecar: SidecarProcess) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "issue-who"}
    specialist = sidecar.agent("python-specialist", project="default")
    architect = sidecar.agent("chief-architect", project="default")
    refused(sidecar, 403, "AUTH_003", "POST", "/api/agents/spawn", specialist, json=body)
    for more in ({"command": ["true"]}, {"credentials": ["X"]}):
        refused(sidecar, 403, "AUTH_003", "POST", "/api/agents/spawn", architect, json=body | more)
    steps = {"environment": {"AGENT_SCRIPT": json.dumps([{"do": "exit", "code": 0}])}}
    spawned = SpawnedAgent(sidecar, call(sidecar, "POST", "/api/agents/spawn", architect, json=body | steps))
    ended = spawned.wait()
    assert (ended["status"], ended["spawned_by"], ended["depth"]) == ("completed", architect.id, 1)


def test_a_credential_does_not_come_out_in_what_is_printed(tmp_path: Path, root: Path) -> None:
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


# -- tokens over time -----------------------------------------------------------------------------------


def test_the_token_file_is_renewed_before_its_token_expires(tmp_path: Path, root: Path) -> None:
    clock = Hands(tmp_path / "clock")
    config = written(tmp_path / "config.json", agents={"runners": RUNNERS})
    sidecar = ClockedSidecar(tmp_path / "storage", root, clock, config=config)
    try:
        pausing = spawn_scripted(sidecar, [{"do": "exit", "code": 1}], agent_type="qa-engineer", command=[])
        until(lambda: pausing.get().get("retry_at"), "the pause")
        # Looked after in the order of their spawns: when the second has its token, the first has been looked after.
        working = spawn_scripted(sidecar, SLEEP)
        file = directory_of(sidecar, working) / "token"
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


# -- what programs say of their work ---------------------------------------------------------------------


def test_what_a_program_reports_is_kept_and_its_last_answer_is_its_result(
    sidecar: SidecarProcess, scripted_agent: Spawn
) -> None:
    issue = fresh("issue-report")
    steps = [
        {
            "do": "report",
            "result": "Wrote the parser\nand its tests",
            "cost": 0.25,
            "turns": 4,
            "input": 1000,
            "output": 200,
        }
    ]
    agent = scripted_agent(steps, command=[], issue=issue)
    ended = agent.wait()
    assert ended["status"] == "completed"
    assert ended["usage"] == {
        "session_id": "11111111-2222-4333-8444-555555555555",
        "turns": 4,
        "duration_ms": 1200,
        "api_duration_ms": 800,
        "input_tokens": 1000,
        "output_tokens": 200,
        "cache_read_tokens": 3,
        "cost_usd": 0.25,
    }
    (result,) = call(sidecar, "GET", f"/api/results?issue_id={issue}")["results"]
    assert result["id"] == ended["result_id"] and result["agent_id"] == agent.id
    assert result["result"]["decisions"] == ["Wrote the parser"]
    assert result["result"]["artifacts"] == {"final_message": "Wrote the parser\nand its tests"}
    assert result["result"]["metrics"] == {"execution_time_ms": 1200, "tokens_used": 1200, "cost_usd": 0.25}
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


def test_the_agents_own_result_goes_before_its_last_answer(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    issue = fresh("issue-report")
    steps = [{"do": "result", "decisions": ["mine"]}, {"do": "report", "result": "also this"}]
    ended = scripted_agent(steps, command=[], issue=issue).wait()
    (result,) = call(sidecar, "GET", f"/api/results?issue_id={issue}")["results"]
    assert (result["result"]["decisions"], result["id"]) == (["mine"], ended["result_id"])


def test_a_program_that_reports_an_error_has_failed(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    issue = fresh("issue-report")
    ended = scripted_agent(
        [{"do": "report", "result": "no more credit", "is_error": True}], command=[], issue=issue
    ).wait()
    assert (ended["status"], ended["reason"]) == ("failed", "it reported: no more credit")
    assert ended["usage"]["cost_usd"] == 0.01
    assert call(sidecar, "GET", f"/api/results?issue_id={issue}")["results"] == []


def test_nothing_is_estimated_and_nonsense_is_passed_over(scripted_agent: Spawn) -> None:
    lines = [
        '{"type": "result", "usage": {"input_tokens": -5, "output_tokens": "many"}, "num_turns": true}',
        '{"type": "result", "result": {"no": "text"}, "session_id": 7, "usage": [1], "stats": null}',
        *(
            '{"type": "resu',
            "{}",
            '{"type": null}',
            "[1, 2]",
            '{"type": ["result"]}',
            '{"type": "item.completed", "item": 3}',
        ),
        '{"type": "result", "total_cost_usd": 1e400}',
    ]
    ended = scripted_agent([{"do": "print", "text": line} for line in lines], command=[]).wait()
    assert ended["status"] == "completed"
    assert ended.get("usage", {}) in ({}, {"session_id": ""}), ended["usage"]


def test_the_usage_of_all_attempts_is_summed(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent([{"do": "report", "result": "ok", "cost": 0.5, "turns": 2}], command=[])
    agent.wait()
    for attempts in (2, 3):
        resume(sidecar, agent)
        usage = agent.wait()["usage"]
        assert (usage["cost_usd"], usage["turns"]) == (0.5 * attempts, 2 * attempts)
