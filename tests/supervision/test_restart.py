"""A sidecar is killed or stopped, and the next one finds its agents: none is lost or duplicated, and each ends
correctly.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from tests.support import claude
from tests.support.processes import command_line_of, lines_in, of_run, pid_in, process_alive, writes_its_pid
from tests.support.sidecars import call, events, until
from tests.support.spawned import SLEEP, steps_until
from tests.support.succession import Succession, scripted_runner, writes_blocked

from cco_sidecar.core.agent_status import ENDED
from cco_sidecar.core.machine import boot_id
from cco_sidecar.runners import run as run_module
from cco_sidecar.runners.run import MARK, Run
from cco_sidecar.runners.shim import start_time
from cco_sidecar.testing.agents import SpawnedAgent

RUNNERS: dict[str, Any] = {
    "python-specialist": scripted_runner(output="stream-json"),
    "qa-engineer": scripted_runner(retry={"attempts": 2, "backoff_seconds": 2}),
    "debugger": scripted_runner(),
}
# What an agent's directory may contain when it has ended.
KEPT = {"output.log"}


@pytest.fixture
def sidecars(tmp_path: Path, root: Path) -> Iterator[Succession]:
    made = Succession(tmp_path, root, max_concurrent=6, runners=RUNNERS)
    yield made
    made.close()


def about(sidecars: Succession, agent: SpawnedAgent) -> list[str]:
    found = events(sidecars.sidecar, "default")
    return [each["event_type"] for each in found if each["data"].get("agent_id") == agent.id]


def left_in(directory: Path) -> set[str]:
    return {str(path) for path in directory.rglob("*") if not path.is_dir() and path.name not in KEPT}


def shim_of(agent: SpawnedAgent) -> psutil.Process:
    shim = psutil.Process(agent.get()["process_id"]).parent()
    assert shim is not None and "shim.py" in command_line_of(shim)
    return shim


# -- recovered ------------------------------------------------------------------------------------------


def test_every_agent_of_a_killed_sidecar_is_reported_as_it_ended(sidecars: Succession, tmp_path: Path) -> None:
    running = sidecars.spawn(
        [*steps_until(tmp_path / "go"), {"do": "print", "text": "still here"}, {"do": "exit", "code": 5}]
    )
    calling = sidecars.spawn(
        [*steps_until(tmp_path / "go"), {"do": "context"}, {"do": "result", "decisions": ["done"]}]
    )
    failing = sidecars.spawn([*steps_until(tmp_path / "now"), {"do": "exit", "code": 6}])
    shot = sidecars.spawn([*steps_until(tmp_path / "now"), {"do": "kill", "signal": "SIGSEGV"}])
    succeeding = sidecars.spawn(
        [{"do": "print", "text": "on"}, *steps_until(tmp_path / "now"), {"do": "print", "text": "off"}]
    )
    unwatched = sidecars.spawn(SLEEP)
    queued = sidecars.spawn([{"do": "exit", "code": 0}])
    assert (running.get()["status"], queued.get()["status"]) == ("running", "pending")
    before = {agent.id: agent.get()["process_id"] for agent in (running, calling)}
    shim = shim_of(unwatched)
    ends = [psutil.Process(agent.get()["process_id"]) for agent in (failing, shot, succeeding)]
    sidecars.crash()
    (tmp_path / "now").touch()
    shim.kill()
    until(lambda: not any(process_alive(each.pid) for each in ends), "their ends")
    until(
        lambda: all((sidecars.run_of(each) / "exit.json").exists() for each in (failing, shot, succeeding)),
        "the reports",
    )
    sidecars.open()
    running, calling, failing, shot, succeeding, unwatched, queued = map(
        sidecars.now, (running, calling, failing, shot, succeeding, unwatched, queued)
    )
    for agent in (running, calling):
        found = agent.get()
        assert (found["status"], found["process_id"], found["attempt"]) == ("running", before[agent.id], 1), found
    ended = failing.wait()
    assert (ended["status"], ended["exit_code"], ended["reason"]) == ("failed", 6, "exited with code 6")
    ended = shot.wait()
    assert (ended["status"], ended["signal"], "exit_code" in ended) == ("failed", "SIGSEGV", False)
    ended = succeeding.wait()
    assert (ended["status"], ended["exit_code"], ended["last_output"]) == ("completed", 0, ["on", "off"])
    ended = unwatched.wait()
    assert ended["status"] == "failed" and "unknown" in ended["reason"] and not {"exit_code", "signal"} & ended.keys()
    assert queued.wait()["status"] == "completed", "a slot was free again"
    (tmp_path / "go").touch()
    ended = running.wait()
    assert (ended["status"], ended["exit_code"], ended["last_output"]) == ("failed", 5, ["still here"])
    ended = calling.wait()
    assert ended["status"] == "completed" and ended["result_id"], "its token was valid"
    for agent, last in (
        *((each, "agent_failed") for each in (running, failing, shot, unwatched)),
        *((each, "agent_completed") for each in (calling, succeeding, queued)),
    ):
        assert about(sidecars, agent) == ["agent_spawned", last]
        assert (
            sidecars.sidecar.request("GET", "/api/events", headers=agent.headers).status_code == 401 or not agent.token
        )
    until(lambda: not left_in(sidecars.storage / "agents"), "nothing but the output")


def test_the_state_of_an_agent_is_known_after_a_crash(sidecars: Succession, tmp_path: Path) -> None:
    asking = sidecars.spawn([{"do": "heartbeat", "percent": 30, "message": "which way?", "needs_input": True}, *SLEEP])
    reporting = sidecars.spawn(
        [
            {"do": "report", "result": "half", "cost": 0.5, "turns": 2, "input": 100, "output": 10},
            {"do": "heartbeat", "message": "go on?", "needs_input": True},
            *steps_until(tmp_path / "go"),
            {"do": "heartbeat", "message": "thanks"},
            {"do": "print", "text": "over"},
        ],
        command=[],
    )
    for agent in (asking, reporting):
        agent.wait("needs_input")
    until(lambda: reporting.get().get("usage", {}).get("turns"), "the figures")
    sidecars.crash()
    sidecars.open()
    asking, reporting = sidecars.now(asking), sidecars.now(reporting)
    # The first check after the start is over when the token file was renewed, or after a second.
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        found = asking.get()
        assert (found["status"], found["reason"], found["progress"]["percent"]) == ("needs_input", "which way?", 30), (
            found
        )
    (tmp_path / "go").touch()
    ended = reporting.wait()
    usage = {name: ended["usage"].get(name) for name in ("turns", "cost_usd", "input_tokens", "output_tokens")}
    assert usage == {"turns": 2, "cost_usd": 0.5, "input_tokens": 100, "output_tokens": 10}, "it is not counted twice"


def test_a_pause_before_a_next_attempt_continues_after_a_crash(sidecars: Succession) -> None:
    agent = sidecars.spawn([{"do": "exit", "code": 9}], agent_type="qa-engineer", command=[])
    waiting = until(lambda: (found := agent.get()).get("retry_at") and found, "the pause")
    sidecars.crash()
    sidecars.open()
    agent = sidecars.now(agent)
    ended = agent.wait()
    assert (ended["status"], ended["attempt"], ended["exit_code"]) == ("failed", 2, 9)
    started, due = (datetime.fromisoformat(stamp) for stamp in (ended["started_at"], waiting["retry_at"]))
    # A timer may fire slightly early.
    assert started > due - timedelta(milliseconds=100)
    assert about(sidecars, agent) == ["agent_spawned", "agent_spawned", "agent_failed"]


def test_a_recovered_agent_is_stopped_like_any_other(sidecars: Succession, tmp_path: Path) -> None:
    agent = sidecars.spawn([{"do": "start", "command": writes_its_pid(tmp_path / "child"), "detached": True}, *SLEEP])
    child_pid, process = pid_in(tmp_path / "child"), agent.get()["process_id"]
    sidecars.crash()
    sidecars.open()
    agent = sidecars.now(agent)
    assert agent.stop(timeout=1)["status"] == "stopped"
    assert not process_alive(child_pid) and not process_alive(process)
    assert agent.get()["signal"] == "SIGTERM"
    assert sidecars.sidecar.request("GET", "/api/events", headers=agent.headers).status_code == 401


def test_a_log_is_followed_across_a_restart(sidecars: Succession, tmp_path: Path) -> None:
    agent = sidecars.spawn(
        [{"do": "print", "text": "before"}, *steps_until(tmp_path / "go"), {"do": "print", "text": "after"}]
    )
    until(agent.logs, "a line")
    sidecars.crash()
    (tmp_path / "go").touch()
    sidecars.open()
    agent = sidecars.now(agent)
    agent.wait()
    assert agent.logs() == ["before", "after"]


def test_a_daemon_whose_shim_and_sidecar_were_killed_is_ended(sidecars: Succession, tmp_path: Path) -> None:
    agent = sidecars.spawn([{"do": "start", "command": writes_its_pid(tmp_path / "child"), "detached": True}, *SLEEP])
    child_pid, shim = pid_in(tmp_path / "child"), shim_of(agent)
    sidecars.crash()
    shim.kill()
    assert process_alive(child_pid)
    sidecars.open()
    assert sidecars.now(agent).wait()["status"] == "failed"
    assert not process_alive(child_pid)


def test_the_storage_may_be_opened_by_another_path(tmp_path: Path, root: Path) -> None:
    """The same directory through a link: its agents are still recognised."""
    sidecars = Succession(tmp_path, root)
    (tmp_path / "elsewhere").symlink_to(sidecars.storage)
    agent = sidecars.spawn([*steps_until(tmp_path / "go"), {"do": "exit", "code": 4}])
    storage = sidecars.storage
    try:
        sidecars.crash()
        sidecars.storage = tmp_path / "elsewhere"
        sidecars.open()
        agent = sidecars.now(agent)
        started = time.monotonic()
        while time.monotonic() - started < 1:
            assert agent.get()["status"] == "running", agent.get()["reason"]
        (tmp_path / "go").touch()
        assert agent.wait()["exit_code"] == 4
    finally:
        (tmp_path / "go").touch()
        sidecars.storage = storage
        until(lambda: not of_run(storage / "agents" / agent.id), "its end")
        sidecars.close()


# -- crashes in between ---------------------------------------------------------------------------------


def directory_made(sidecars: Succession) -> Callable[[], Path | None]:
    """The directory of an attempt that did not exist before."""
    agents = sidecars.storage / "agents"
    before = set(agents.glob("*/*"))
    return lambda: next(iter(set(agents.glob("*/*")) - before), None)


def in_background(work: Callable[[], Any]) -> threading.Thread:
    """Calls to a sidecar that is killed meanwhile may fail."""

    def run() -> None:
        with suppress(requests.RequestException, AssertionError):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def crash_before_the_start_is_on_disk(
    sidecars: Succession, *, ready: Callable[[Path], bool], **spawn: Any
) -> SpawnedAgent:
    """The sidecar is killed when the agent runs and its record still says pending."""
    made = directory_made(sidecars)
    caller = in_background(lambda: sidecars.spawn(**spawn))
    run: Path | None = until(made, "its directory")
    assert run is not None
    with writes_blocked(sidecars.storage):
        until(lambda: ready(run), "its process")
        sidecars.crash()
    caller.join()
    sidecars.open()
    return SpawnedAgent(sidecars.sidecar, {"agent_id": run.parent.name, "jwt_token": None})


def test_an_agent_that_runs_before_its_start_is_stored_is_recovered(sidecars: Succession, tmp_path: Path) -> None:
    up = tmp_path / "up"
    steps = [{"do": "write", "path": str(up), "text": ""}, *steps_until(tmp_path / "go"), {"do": "exit", "code": 5}]
    agent = crash_before_the_start_is_on_disk(sidecars, ready=lambda run: up.exists(), steps=steps)
    found = agent.wait("running")
    assert (found["attempt"], len(shims_of(sidecars, agent))) == (1, 1)
    assert process_alive(found["process_id"]) and found["started_at"]
    (tmp_path / "go").touch()
    ended = agent.wait()
    assert (ended["status"], ended["exit_code"], ended["attempt"]) == ("failed", 5, 1)
    assert about(sidecars, agent) == ["agent_spawned", "agent_failed"]


def shims_of(sidecars: Succession, agent: SpawnedAgent) -> list[psutil.Process]:
    mine = of_run(sidecars.storage / "agents" / agent.id)
    return [each for each in mine if "shim.py" in command_line_of(each)]


def test_an_agent_that_ended_before_its_start_is_stored_has_ended_correctly(sidecars: Succession) -> None:
    agent = crash_before_the_start_is_on_disk(
        sidecars,
        ready=lambda run: (run / "exit.json").exists(),
        steps=[{"do": "print", "text": "quick"}, {"do": "exit", "code": 3}],
    )
    ended = agent.wait()
    assert (ended["status"], ended["exit_code"], ended["attempt"]) == ("failed", 3, 1), ended
    assert agent.logs() == ["quick"]
    assert about(sidecars, agent)[-1] == "agent_failed"


def test_an_agent_whose_shim_was_killed_before_its_start_is_stored_does_not_run_twice(
    sidecars: Succession, tmp_path: Path
) -> None:
    """Its end was not observed, and its leftover processes do not go on."""
    child = writes_its_pid(tmp_path / "child-$AGENT_ATTEMPT", "exec sleep 600")
    killed: list[int] = []

    def ready(run: Path) -> bool:
        if not (tmp_path / "child-1").exists():
            return False
        for each in of_run(run):
            if "shim.py" in command_line_of(each):
                each.kill()
                killed.append(each.pid)
        return True

    agent = crash_before_the_start_is_on_disk(
        sidecars,
        ready=ready,
        steps=[{"do": "start", "command": child, "detached": True}, *SLEEP],
    )
    assert killed
    first = pid_in(tmp_path / "child-1")
    ended = agent.wait()
    assert (ended["status"], ended["attempt"], "exit status unknown" in ended["reason"]) == ("failed", 1, True), ended
    assert "exit_code" not in ended and about(sidecars, agent) == ["agent_spawned", "agent_failed"]
    until(lambda: not process_alive(first), "the end of its leftover processes")
    assert pid_in(tmp_path / "child-1") == first and not (tmp_path / "child-2").exists()
    until(lambda: not left_in(sidecars.storage / "agents" / agent.id), "nothing but the output")


def test_an_interrupted_start_leaves_no_files_and_does_not_count(sidecars: Succession) -> None:
    """The sidecar is killed when the directory exists and no shim does."""
    made = directory_made(sidecars)
    caller = in_background(lambda: sidecars.spawn([{"do": "exit", "code": 0}]))
    run = until(made, "its directory")
    sidecars.crash()
    caller.join()
    assert run is not None
    sidecars.open()
    agent = SpawnedAgent(sidecars.sidecar, {"agent_id": run.parent.name, "jwt_token": None})
    ended = agent.wait()
    assert ended["status"] == "completed" and ended["attempt"] <= ended["max_attempts"] == 1, ended
    until(lambda: not left_in(sidecars.storage / "agents"), "nothing but the output")


def test_a_stored_end_without_clean_up_is_cleaned_up(sidecars: Succession) -> None:
    """The state after a crash between the record of the end and the removal of the files."""
    agent = sidecars.spawn([{"do": "print", "text": "on"}])
    agent.wait()
    run = sidecars.run_of(agent)
    until(lambda: not left_in(run), "nothing but the output")
    sidecars.crash()
    for name in ("token", "context.json", "exit.json", "shim.json"):
        (run / name).write_text("{}")
    sidecars.open()
    until(lambda: not left_in(run), "nothing but the output")
    assert sidecars.now(agent).get()["status"] == "completed"


@pytest.mark.parametrize("seed", range(3))
def test_a_sidecar_killed_while_spawning_loses_and_duplicates_no_agent(
    sidecars: Succession, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    acknowledged: list[str] = []
    script = (
        f'echo "$AGENT_ID $AGENT_ATTEMPT" >> "{tmp_path}/started"; while [ ! -e "{tmp_path}/go" ]; do sleep 0.05; done'
    )

    def spawn(_: int) -> None:
        with suppress(requests.RequestException):
            acknowledged.append(sidecars.spawn(command=["sh", "-c", script]).id)

    made = directory_made(sidecars)
    with ThreadPoolExecutor(8) as pool:
        spawning = [pool.submit(spawn, number) for number in range(8)]
        until(made, "the first directory")
        time.sleep(chance.uniform(0.0, 0.25))
        sidecars.crash()
    assert all(each.exception() is None or isinstance(each.exception(), AssertionError) for each in spawning)
    sidecars.open()
    known = call(sidecars.sidecar, "GET", "/api/agents")["agents"]
    assert set(acknowledged) <= {each["agent_id"] for each in known}
    handles = [SpawnedAgent(sidecars.sidecar, {"agent_id": each["agent_id"], "jwt_token": None}) for each in known]
    until(
        lambda: call(sidecars.sidecar, "GET", "/api/agents")["running"] == min(6, len(known)),
        "all free slots to be used",
    )
    for agent in handles:
        assert len(shims_of(sidecars, agent)) <= 1, "one agent, one process"
    (tmp_path / "go").touch()
    for agent in handles:
        ended = agent.wait()
        assert (ended["status"], ended["exit_code"]) == ("completed", 0), ended
    starts = lines_in(tmp_path / "started")
    assert len(starts) == len(set(starts)) and {each.split()[0] for each in starts} == {
        each["agent_id"] for each in known
    }
    assert of_run(sidecars.storage / "agents") == []
    until(lambda: not left_in(sidecars.storage / "agents"), "nothing but the output")


def test_what_an_earlier_attempt_left_is_removed(sidecars: Succession) -> None:
    """The sidecar may end after the end of an attempt is stored, and before its files are removed."""
    agent = sidecars.spawn([{"do": "exit", "code": 9}], agent_type="qa-engineer", command=[])
    until(lambda: agent.get().get("retry_at"), "the pause")
    sidecars.crash()
    left = sidecars.run_of(agent) / "agent" / "token"
    left.parent.mkdir(exist_ok=True)
    left.write_text("left behind")
    sidecars.open()
    ended = sidecars.now(agent).wait()
    assert (ended["status"], ended["attempt"]) == ("failed", 2)
    until(lambda: not left_in(sidecars.storage / "agents"), "nothing but the output", 10)


# -- orderly shutdown -----------------------------------------------------------------------------------


def test_a_stopped_sidecar_ends_its_agents_and_says_so(sidecars: Succession, tmp_path: Path) -> None:
    polite = (
        f"trap 'echo bye; touch {tmp_path}/asked; exit 0' TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done"
    )
    agents = [sidecars.spawn(command=["sh", "-c", polite]), sidecars.spawn(SLEEP)]
    pausing = sidecars.spawn([{"do": "exit", "code": 9}], agent_type="qa-engineer", command=[])
    until((tmp_path / "ready").exists, "the agent")
    until(lambda: pausing.get().get("retry_at"), "the pause")
    processes = [agent.get()["process_id"] for agent in agents]
    assert sidecars.sidecar.stop() == ""
    assert (tmp_path / "asked").exists() and not any(map(process_alive, processes))
    assert of_run(sidecars.storage / "agents") == []
    sidecars.open()
    for agent in map(sidecars.now, agents):
        found = agent.get()
        assert (found["status"], found["reason"]) == ("stopped", "the sidecar was stopped")
        assert found["ended_at"] and "process_id" not in found
    first = sidecars.now(agents[0])
    assert first.get()["exit_code"] == 0 and "bye" in first.logs()
    ended = sidecars.now(pausing).wait()
    assert (ended["status"], ended["attempt"]) == ("failed", 2), "an agent that waited for an attempt still has it"


def test_an_agent_that_ignores_sigterm_does_not_delay_the_shutdown(sidecars: Succession) -> None:
    agent = sidecars.spawn([{"do": "ignore", "signal": "SIGTERM"}, {"do": "print", "text": "deaf"}, *SLEEP])
    until(agent.logs, "a line")
    process = agent.get()["process_id"]
    started = time.monotonic()
    assert sidecars.sidecar.stop() == ""
    assert time.monotonic() - started < 15 and not process_alive(process)


def test_sighup_leaves_the_agents_to_the_next_sidecar(sidecars: Succession, tmp_path: Path) -> None:
    agent = sidecars.spawn([*steps_until(tmp_path / "go"), {"do": "exit", "code": 2}])
    process = agent.get()["process_id"]
    sidecars.sidecar.process.send_signal(signal.SIGHUP)
    assert sidecars.sidecar.process.communicate(timeout=30)[1] == ""
    assert process_alive(process)
    sidecars.open()
    agent = sidecars.now(agent)
    assert (agent.get()["status"], agent.get()["process_id"]) == ("running", process)
    (tmp_path / "go").touch()
    assert agent.wait()["exit_code"] == 2


# -- identity of processes ------------------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """An unrelated process."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def known_as(process: psutil.Process | subprocess.Popen[bytes], **changed: Any) -> str:
    found = {"pid": process.pid, "start": start_time(process.pid), "boot_id": boot_id(), "agent": process.pid}
    return json.dumps(found | changed)


def test_a_reused_pid_is_left_alone(sidecars: Succession, stranger: subprocess.Popen[bytes]) -> None:
    agents = [sidecars.spawn(SLEEP) for _ in range(3)]
    found = [shim_of(agent) for agent in agents]
    sidecars.crash()
    for shim in found:
        shim.kill()
    until(lambda: not any(process_alive(each.pid) for each in found), "their ends")
    # Another process has the pid: started at another time, on another boot, and even at the very same tick.
    for agent, changed in zip(agents, ({"start": 1}, {"boot_id": "another"}, {}), strict=True):
        (sidecars.run_of(agent) / "shim.json").write_text(known_as(stranger, **changed))
    sidecars.open()
    for agent in map(sidecars.now, agents):
        ended = agent.wait()
        assert ended["status"] == "failed" and "unknown" in ended["reason"]
    assert stranger.poll() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": -1, "start": 1, "boot_id": ""}'])
def test_a_run_without_a_known_shim_does_not_count_as_running(tmp_path: Path, content: str) -> None:
    (tmp_path / "shim.json").write_text(content)
    assert Run(tmp_path).adopt() is False


class Started:
    """A run whose shim was started by the test, as an earlier sidecar would have done."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        first = Run(directory)
        specification = {
            "argv": ["sleep", "600"],
            "env": {"PATH": os.environ["PATH"], MARK: str(directory)},
            "cwd": "/",
        }
        self.first = first
        self.agent = asyncio.run(first.spawn(specification))

    def close(self) -> None:
        self.first.stop(0)
        asyncio.run(asyncio.wait_for(self.first.ended(), 20))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path / "run")
    yield made
    made.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV])
def test_a_sidecar_without_free_descriptors_does_not_treat_its_agents_as_dead(
    started: Started, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The agents are not killed, and the sidecar does not block until they end."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    async def watch(run: Run) -> None:
        ended = asyncio.create_task(run.ended())
        done, _ = await asyncio.wait({ended}, timeout=1.5)
        assert not done, ended.result()
        ended.cancel()

    found = Run(started.directory)
    assert found.adopt()
    monkeypatch.setattr(os, "pidfd_open", refuse)
    asyncio.run(asyncio.wait_for(watch(found), 10))
    assert process_alive(started.agent)


def test_an_adopted_run_is_watched_to_its_end(started: Started) -> None:
    found = Run(started.directory)
    assert found.adopt()

    async def watch() -> Any:
        ended = asyncio.create_task(found.ended())
        await asyncio.sleep(0)
        os.kill(started.agent, signal.SIGTERM)
        return await asyncio.wait_for(ended, 20)

    end = asyncio.run(watch())
    assert (end.signal, end.exit_code, end.known) == ("SIGTERM", None, True)


def test_an_exit_report_that_cannot_be_opened_is_read_later(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Run(started.directory)
    assert found.adopt()
    os.kill(started.agent, signal.SIGTERM)
    until((started.directory / "exit.json").exists, "what its shim writes")

    def refuse(path: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            asyncio.run(asyncio.wait_for(found.ended(), 20))
    assert asyncio.run(asyncio.wait_for(found.ended(), 20)).signal == "SIGTERM"


def test_unkillable_processes_are_not_retried_forever(
    started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For example, a process of another user."""

    def refuse(process: psutil.Process, _: int) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "send_signal", refuse)
    monkeypatch.setattr(run_module, "_PATIENCE_SECONDS", 0.3)
    with ThreadPoolExecutor(1) as pool:
        trying = pool.submit(Run(started.directory).kill_leftovers)
        try:
            trying.result(timeout=20)
        finally:
            monkeypatch.undo()
    assert process_alive(started.agent) and "cannot end processes of" in caplog.text


def test_only_processes_with_the_runs_own_mark_are_killed(
    started: Started, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    """Two runs whose directory names share a prefix are distinct."""
    other = subprocess.Popen(["sleep", "600"], env={MARK: f"{started.directory}0/agent"})
    mine = subprocess.Popen(["sleep", "600"], env={MARK: str(Run(started.directory).shared)})
    try:
        Run(started.directory).kill_leftovers()
        assert not process_alive(mine.pid)
        assert other.poll() is None and stranger.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.wait(10)


def test_cleaning_up_after_one_agent_leaves_starting_agents_alone(tmp_path: Path) -> None:
    done = threading.Event()

    def clean_up(number: int) -> None:
        while not done.is_set():
            Run(tmp_path / f"ended-{number}").kill_leftovers()

    async def start(number: int) -> Any:
        directory = tmp_path / str(number)
        directory.mkdir()
        run = Run(directory)
        environment = {"PATH": os.environ["PATH"], MARK: str(directory)}
        await run.spawn({"argv": ["sh", "-c", "exit 7"], "env": environment, "cwd": "/"})
        return (await run.ended()).exit_code

    async def start_all() -> list[Any]:
        return [await start(number) for number in range(60)]

    with ThreadPoolExecutor() as pool:
        cleaning = [pool.submit(clean_up, number) for number in range(2)]
        try:
            assert asyncio.run(start_all()) == [7] * 60
        finally:
            done.set()
    assert [each.result() for each in cleaning] == [None, None]


def test_a_resumed_and_queued_agent_keeps_its_message_and_usage(tmp_path: Path, root: Path) -> None:
    """Through a crash while it waits for a slot."""
    program = [sys.executable, claude.__file__, "--print", "--output-format", "stream-json", "--verbose"]
    entry = {
        "command": [*program, "--session-id", "{session_id}"],
        "resume": [*program, "--resume", "{session_id}"],
        "stdin": "prompt",
        "output": "stream-json",
        "environment": {"CLAUDE_CALLS": str(tmp_path / "calls")},
    }
    runners = {"python-specialist": entry, "debugger": scripted_runner()}
    sidecars = Succession(tmp_path, root, max_concurrent=1, runners=runners)
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "task": "the task"}
    agent = SpawnedAgent(sidecars.sidecar, call(sidecars.sidecar, "POST", "/api/agents/spawn", json=body))
    first = agent.wait("completed")
    assert first["usage"]["cost_usd"] > 0
    gate = tmp_path / "gate"
    sidecars.spawn(steps_until(gate), agent_type="debugger")
    call(sidecars.sidecar, "POST", f"/api/agents/{agent.id}/resume", json={"message": "go on"})
    assert agent.get()["status"] == "pending"
    sidecars.crash()
    sidecars.open()
    gate.touch()
    agent = sidecars.now(agent)
    ended = until(lambda: found if (found := agent.get())["attempt"] == 2 and found["status"] in ENDED else None, "it")
    assert ended["status"] == "completed"
    assert ended["usage"]["cost_usd"] == pytest.approx(2 * first["usage"]["cost_usd"])
    calls = [json.loads(line) for line in lines_in(tmp_path / "calls")]
    assert [each["prompt"].splitlines()[0] for each in calls] == ["the task", "go on"]
    sidecars.close()
