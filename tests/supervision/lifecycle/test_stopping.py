"""Stopping agents, including agents that are just starting or ending."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import requests
from tests.support.processes import of_run, pid_in, process_alive, writes_its_pid
from tests.support.sidecars import call, fresh, until
from tests.support.spawned import SLEEP, Spawn, directory_of, events_of, files_of, open_streams, steps_until
from tests.support.succession import writes_blocked

from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import agent_service_pb2 as pb


def test_a_stop_ends_the_whole_process_tree(sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path) -> None:
    child, far = writes_its_pid(tmp_path / "child", "exec sleep 600"), writes_its_pid(tmp_path / "far")
    agent = scripted_agent(
        [{"do": "start", "command": child}, {"do": "start", "command": far, "detached": True}, *SLEEP]
    )
    pids = [agent.get()["process_id"], pid_in(tmp_path / "child"), pid_in(tmp_path / "far")]
    stopped = agent.stop(timeout=1)
    assert (stopped["stopped"], stopped["status"], stopped["reason"]) == (True, "stopped", "stopped by the operator")
    assert [pid for pid in pids if process_alive(pid)] == [], "the answer came when nothing was left"
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


def test_two_concurrent_stops_are_both_answered_and_the_shorter_timeout_wins(
    scripted_agent: Spawn, tmp_path: Path
) -> None:
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


def test_agents_stopped_while_they_start_are_stopped(sidecar: SidecarProcess) -> None:
    issue = fresh("issue-stop")
    ended: list[dict[str, Any]] = []

    def stop_all(until_gone: threading.Event) -> None:
        """Stops every agent of the issue as soon as it appears."""
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


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_stop_continues_when_its_caller_disconnects(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any, transport: str
) -> None:
    """The disk is slow, so that the stop is still in progress when the caller times out."""
    agent = scripted_agent(SLEEP)

    def ask() -> None:
        if transport == "grpc":
            metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
            with pytest.raises(grpc.RpcError) as refusal:
                stubs.agents.StopAgent(pb.StopAgentRequest(agent_id=agent.id), metadata=metadata, timeout=0.5)
            assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            with pytest.raises(requests.Timeout):
                sidecar.request("DELETE", f"/api/agents/{agent.id}", sidecar.operator, timeout=0.5)

    def heard() -> bool:
        """A stop that is queued behind other writes when its caller disconnects may never have begun."""
        with writes_blocked(sidecar.storage):
            ask()
        return sidecar.request("GET", "/api/events?limit=1", headers=agent.headers).status_code == 401

    until(heard, "a stop that has begun")
    assert agent.wait(timeout=10)["status"] == "stopped"


def test_disconnected_callers_of_a_stop_leave_no_agent_half_stopped(
    sidecar: SidecarProcess, scripted_agent: Spawn, stubs: Any
) -> None:
    """The callers wait a millisecond and more: a stop that never arrived leaves the agent as it was."""
    agents = [scripted_agent(SLEEP) for _ in range(10)]
    metadata = [("authorization", f"Bearer {sidecar.operator.token}")]
    for number, agent in enumerate(agents):
        request = pb.StopAgentRequest(agent_id=agent.id, timeout=5)
        with suppress(grpc.RpcError):
            stubs.agents.StopAgent(request, metadata=metadata, timeout=0.001 * (number + 1))
    for agent in agents:
        if sidecar.request("GET", "/api/events?limit=1", headers=agent.headers).status_code == 401:
            assert agent.wait(timeout=15)["status"] == "stopped"


def test_an_unresponsive_shim_is_killed(sidecar: SidecarProcess, scripted_agent: Spawn) -> None:
    agent = scripted_agent(
        [{"do": "start", "command": ["sleep", "600"], "detached": True}, {"do": "print", "text": "on"}, *SLEEP]
    )
    until(agent.logs, "a line")
    shim = psutil.Process(agent.get()["process_id"]).parent()
    assert shim is not None
    shim.suspend()
    assert agent.stop(force=True)["status"] == "stopped"
    assert of_run(directory_of(sidecar, agent)) == [] and not process_alive(shim.pid)


def test_an_agent_that_ended_by_itself_is_not_reported_as_stopped(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    """The stop arrives after the agent exited with 0 and before its leftover processes ended."""
    deaf = f"trap '' TERM; touch '{tmp_path}/ready'; while :; do sleep 0.05; done"
    agent = scripted_agent(
        [{"do": "start", "command": ["sh", "-c", deaf], "detached": True}, *steps_until(tmp_path / "ready")]
    )
    process = agent.get().get("process_id", 0)
    until((tmp_path / "ready").exists, "its child")
    until(lambda: not process_alive(process), "its end")
    assert agent.get()["status"] == "running", "its leftover processes have two seconds to exit"
    answer = agent.stop()
    found = agent.wait()
    assert (found["status"], found["exit_code"], answer["status"]) == ("completed", 0, "completed")
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


def test_a_stop_that_races_with_the_exit_agrees_with_the_announcement(
    sidecar: SidecarProcess, scripted_agent: Spawn, tmp_path: Path
) -> None:
    agent = scripted_agent(steps_until(tmp_path / "go"))
    process = agent.get()["process_id"]
    with ThreadPoolExecutor() as pool:
        with writes_blocked(sidecar.storage):
            (tmp_path / "go").touch()
            until(lambda: not process_alive(process) and not of_run(directory_of(sidecar, agent)), "its end")
            stop = pool.submit(agent.stop)
            until(lambda: open_streams(sidecar), "the stop")
        stop.result(timeout=30)
    found = agent.wait()
    assert (found["status"], found["exit_code"]) == ("completed", 0), found
    assert events_of(agent, sidecar) == ["agent_spawned", "agent_completed"]


def test_an_agent_that_suspends_its_shim_once_still_ends_in_time(scripted_agent: Spawn) -> None:
    ended = scripted_agent(command=["sh", "-c", "sleep 1; kill -STOP $PPID; sleep 600"], timeout_seconds=2).wait()
    assert (ended["status"], ended["reason"]) == ("failed", "limit: ran longer than 2 s")


def test_an_agent_that_keeps_suspending_its_shim_is_ended(scripted_agent: Spawn, sidecar: SidecarProcess) -> None:
    agent = scripted_agent(command=["sh", "-c", "sleep 1; while :; do kill -STOP $PPID; sleep 0.02; done"])
    ended = agent.wait()
    assert ended["status"] == "failed"
    assert ended["reason"] == "its shim was repeatedly stopped by a signal"
    assert not of_run(sidecar.storage / "agents" / agent.id)
    security = (sidecar.storage / "logs" / "security.log").read_text()
    assert '"event":"shim_stopped"' in security and agent.id in security
