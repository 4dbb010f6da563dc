"""Failures at a bad moment, one at a time: a full disk, a crash, an exit that races with a start."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http.server
import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.disks import Disk
from tests.support.processes import agents_of, of_run, pid_in, process_alive
from tests.support.sidecars import call, events, publish, small_repository, start_refused, until
from tests.support.spawned import SLEEP
from tests.support.succession import Succession, scripted_runner, writes_blocked

from cco_sidecar.core.agent_status import ENDED
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners import shim
from cco_sidecar.runners.run import Run
from cco_sidecar.storage.sql.agents import SqlAgents
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.supervision.supervisor import Supervisor
from cco_sidecar.testing.agents import SpawnedAgent, scripted_command
from cco_sidecar.testing.process import Agent
from orchestra.v1 import agent_service_pb2, agent_service_pb2_grpc

IN_WORKTREE = {
    "agent_type": "test-engineer",
    "issue_id": "issue-1",
    "isolation": "worktree",
    "environment": {"TASK_SCRIPT": "[]"},
}
RUNNERS = {
    "test-engineer": scripted_runner(retry={"attempts": 3, "backoff_seconds": 0.2}),
    "qa-engineer": scripted_runner(retry={"attempts": 2, "backoff_seconds": 2}),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", megabytes=64)
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_repository(tmp_path / "repository")


@pytest.fixture
def deployment(disk: Disk, root: Path) -> Iterator[Succession]:
    made = Succession(disk.path, root, runners=RUNNERS)
    yield made
    disk.free()
    if made.sidecar.process.poll() is None:
        made.sidecar.kill()
    for process in of_run(made.storage / "agents"):
        with contextlib.suppress(psutil.Error):
            process.kill()


def blocking_checkout(root: Path, gate: Path) -> Path:
    """Every new worktree of ``root`` is ready only when ``gate`` exists; the returned file shows that a checkout is
    waiting.
    """
    waits = gate.with_name("waits")
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\necho $$ > '{waits}'\nwhile [ ! -e '{gate}' ]; do sleep 0.02; done\n")
    hook.chmod(0o755)
    return waits


def post(deployment: Succession, body: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        deployment.sidecar.request("POST", "/api/agents/spawn", deployment.sidecar.operator, json=body, timeout=60)


def shims_of(pid: int) -> set[int]:
    """Faster than psutil: a shim starts in milliseconds."""
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {
                int(child)
                for child in (thread / "children").read_text().split()
                if "shim.py" in command_line_of(int(child))
            }
    return found


def command_line_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def ended_agent(deployment: Succession, agent_id: str) -> Any:
    agent = call(deployment.sidecar, "GET", f"/api/agents/{agent_id}")
    return agent if agent["status"] in ENDED else None


def stored(agent: SpawnedAgent) -> None:
    until(lambda: any(line.startswith("result: ") for line in agent.logs()), "its result")


def test_a_result_from_before_a_crash_is_in_the_agents_record(deployment: Succession, tmp_path: Path) -> None:
    """Even if another agent of its type has since stored one for the same issue."""
    gate = tmp_path / "gate"
    agents = []
    for _ in range(2):
        agents.append(deployment.spawn([{"do": "result"}, {"do": "until", "path": str(gate)}]))
        stored(agents[-1])
    results = {each["agent_id"]: each["id"] for each in call(deployment.sidecar, "GET", "/api/results")["results"]}
    assert [agent.get()["result_id"] for agent in agents] == [results[agent.id] for agent in agents]
    deployment.crash()
    deployment.open()
    assert [deployment.now(agent).get()["result_id"] for agent in agents] == [results[agent.id] for agent in agents]
    gate.touch()
    assert [deployment.now(agent).wait()["result_id"] for agent in agents] == [results[agent.id] for agent in agents]
    completed = [event["correlation_id"] for event in events(deployment.sidecar, "default", "agent_completed")]
    assert completed == [results[agent.id] for agent in agents], "completed once each, with the result"


def test_a_start_interrupted_by_a_crash_is_not_an_attempt(deployment: Succession, root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = blocking_checkout(root, gate)
    spawning = threading.Thread(target=post, args=(deployment, IN_WORKTREE))
    spawning.start()
    pid_in(waits)
    (agent,) = call(deployment.sidecar, "GET", "/api/agents")["agents"]
    deployment.crash()
    spawning.join(30)
    gate.touch()
    deployment.open()
    ended = until(lambda: ended_agent(deployment, agent["agent_id"]), "its end")
    assert (ended["status"], ended["attempt"]) == ("completed", 1), ended


def test_a_failure_during_a_restart_is_retried(deployment: Succession, root: Path, tmp_path: Path) -> None:
    """The sidecar shuts down and waits for an agent that is just being started; meanwhile another one fails."""
    gate, fail = tmp_path / "gate", tmp_path / "fail"
    waits = blocking_checkout(root, gate)
    script = f'if [ "$AGENT_ATTEMPT" = 1 ]; then while [ ! -e "{fail}" ]; do sleep 0.02; done; exit 1; fi'
    failing = deployment.spawn([{"do": "run", "command": ["sh", "-c", script]}], agent_type="test-engineer", command=[])
    shims_of = of_run(deployment.run_of(failing))
    assert shims_of
    sidecar = deployment.sidecar
    spawning = threading.Thread(target=post, args=(deployment, IN_WORKTREE))
    spawning.start()
    pid_in(waits)
    with grpc.insecure_channel(sidecar.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="orchestra.v1.EventService")
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        sidecar.process.send_signal(signal.SIGHUP)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    fail.touch()
    psutil.wait_procs(shims_of, 20)
    assert not of_run(deployment.run_of(failing))
    gate.touch()
    sidecar.process.communicate(timeout=30)
    spawning.join(30)
    deployment.open()
    ended = deployment.now(failing).wait()
    assert (ended["status"], ended["attempt"]) == ("completed", 2), ended


def test_a_recovered_attempt_does_not_show_how_the_previous_one_ended(deployment: Succession, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    script = (
        f'[ "$AGENT_ATTEMPT" = 1 ] && kill -9 $PPID; echo $$ > "{runs}"; while [ ! -e "{gate}" ]; do sleep 0.02; done'
    )
    agent = deployment.spawn([{"do": "run", "command": ["sh", "-c", script]}], agent_type="qa-engineer", command=[])
    failed = agent.wait("pending")
    assert failed["signal"] == "SIGKILL", failed
    runs.unlink(missing_ok=True)
    with writes_blocked(deployment.storage):
        pid_in(runs)
        deployment.crash()
    deployment.open()
    assert deployment.now(agent).wait("running")["attempt"] == 2
    gate.touch()
    ended = deployment.now(agent).wait()
    assert (ended["status"], ended["exit_code"], ended.get("signal")) == ("completed", 0, None), ended


def test_a_start_that_only_its_shim_recorded_is_announced(deployment: Succession, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script = f'[ "$AGENT_ATTEMPT" = 1 ] && exit 1; echo $$ > "{runs}"'
    agent = deployment.spawn([{"do": "run", "command": ["sh", "-c", script]}], agent_type="qa-engineer", command=[])
    agent.wait("pending")
    # Removed once its record says how the attempt ended.
    until(lambda: not (deployment.run_of(agent, 1) / "exit.json").exists(), "the record")
    with writes_blocked(deployment.storage):
        pid_in(runs)
        until(lambda: not of_run(deployment.run_of(agent, 2)), "its end")
        deployment.crash()
    deployment.open()
    ended = deployment.now(agent).wait()
    assert (ended["status"], ended["attempt"]) == ("completed", 2), ended
    started = [event["correlation_id"] for event in events(deployment.sidecar, "default", "agent_spawned")]
    assert started == [f"{agent.id}/1", f"{agent.id}/2"]


def test_the_sidecar_is_healthy_again_when_the_disk_is(deployment: Succession, disk: Disk) -> None:
    sidecar = deployment.sidecar
    publish(sidecar, "default", "before")
    disk.fill(sidecar.process.pid)

    def refused() -> bool:
        answer = sidecar.request("POST", "/api/events/x", sidecar.operator, json={"data": {"text": "x" * 5000}})
        return answer.status_code == 500 and answer.json()["code"] == "STR_001"

    until(refused, "a full disk")
    assert sidecar.request("GET", "/health").status_code == 503
    disk.free()
    until(lambda: sidecar.request("GET", "/health").status_code == 200, "a healthy sidecar without any publish", 40)


def test_a_sidecar_can_be_stopped_on_a_full_disk(deployment: Succession, disk: Disk) -> None:
    agent = deployment.spawn(SLEEP)
    disk.fill(deployment.sidecar.process.pid)
    deployment.sidecar.process.send_signal(signal.SIGTERM)
    try:
        deployment.sidecar.process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        raise AssertionError("the sidecar did not exit") from None
    assert not of_run(deployment.run_of(agent))
    disk.free()
    deployment.open()
    assert deployment.now(agent).wait()["status"] in ("stopped", "failed")


def test_a_start_on_a_full_disk_is_refused_in_one_line(deployment: Succession, disk: Disk, root: Path) -> None:
    if not disk.mounted:
        pytest.skip("this user cannot mount a disk to fill")
    agent = deployment.spawn(SLEEP)
    deployment.crash()
    disk.fill(0)
    said = start_refused(disk.path, root, disk.path / "config.json")
    assert "disk" in said or "space" in said
    disk.free()
    deployment.open()
    assert deployment.now(agent).get()["status"] == "running"


def test_a_shim_that_does_not_start_blocks_nobody(deployment: Succession) -> None:
    """The test suspends it before it reports that it runs."""
    server = deployment.sidecar.process.pid
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "command": ["sleep", "600"]}
    spawning: threading.Thread | None = None
    shim = 0
    for _ in range(60):
        before = shims_of(server)
        spawning = threading.Thread(target=post, args=(deployment, body))
        spawning.start()
        shim = until(lambda before=before: next(iter(shims_of(server) - before), 0), "a shim")
        os.kill(shim, signal.SIGSTOP)
        spawning.join(2)
        if spawning.is_alive():
            break
        os.kill(shim, signal.SIGCONT)
    assert spawning is not None and spawning.is_alive(), "every shim was too fast"
    pending = [each for each in call(deployment.sidecar, "GET", "/api/agents")["agents"] if each["status"] == "pending"]
    assert len(pending) == 1
    path = f"/api/agents/{pending[0]['agent_id']}?timeout=1"
    answer = deployment.sidecar.request("DELETE", path, deployment.sidecar.operator, timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (200, "stopped"), answer.text
    assert not of_run(deployment.storage / "agents" / pending[0]["agent_id"])
    spawning.join(30)


def test_a_revocation_that_could_not_be_written_holds_after_a_crash(deployment: Succession) -> None:
    agent = deployment.spawn(SLEEP)
    sidecar = deployment.sidecar
    assert sidecar.request("GET", "/api/events", headers=agent.headers).status_code == 200
    path = f"/api/agents/{agent.id}?force=true"
    stopping = threading.Thread(target=lambda: sidecar.request("DELETE", path, sidecar.operator, timeout=180))
    log = deployment.storage / "logs" / "orchestration.log"
    with writes_blocked(deployment.storage):
        stopping.start()
        until(lambda: f"could not save agent {agent.id} yet" in log.read_text(), "an end that is not stored", 180)
    stopping.join(180)
    assert not stopping.is_alive()
    assert deployment.now(agent).get()["status"] == "stopped"
    assert sidecar.request("GET", "/api/events", headers=agent.headers).status_code == 401
    deployment.crash()
    deployment.open()
    assert deployment.now(agent).get()["status"] == "stopped"
    assert deployment.sidecar.request("GET", "/api/events", headers=agent.headers).status_code == 401


def test_a_shim_from_before_a_crash_does_no_harm_later(deployment: Succession) -> None:
    """The test suspends it before it starts the agent. The next sidecar repeats the start; then the shim continues."""
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "command": ["sleep", "600"]}
    for _ in range(60):
        before = shims_of(deployment.sidecar.process.pid)
        spawning = threading.Thread(target=post, args=(deployment, body))
        spawning.start()
        late = until(lambda before=before: next(iter(shims_of(deployment.sidecar.process.pid) - before), 0), "a shim")
        os.kill(late, signal.SIGSTOP)
        run = Path(command_line_of(late).split("\0")[-2])
        if not (run / "shim.json").exists():
            break
        os.kill(late, signal.SIGCONT)
        spawning.join(30)
    else:
        raise AssertionError("every shim was too fast")
    agent_id = run.parent.name
    deployment.crash()
    spawning.join(30)
    deployment.open()
    agent = SpawnedAgent(deployment.sidecar, {"agent_id": agent_id, "jwt_token": None})
    running = agent.wait("running")
    with contextlib.suppress(ProcessLookupError):
        os.kill(late, signal.SIGCONT)
    until(
        lambda: not process_alive(late) or late in shims_of(deployment.sidecar.process.pid), "the end of the late shim"
    )
    deployment.crash()
    deployment.open()
    again = SpawnedAgent(deployment.sidecar, agent.spawned)
    # Long enough for a sidecar that thinks it is dead to kill it.
    until_then = time.monotonic() + 2
    while time.monotonic() < until_then:
        found = again.get()
        assert (found["status"], found["attempt"]) == ("running", 1), found
        assert found["process_id"] == running["process_id"] and process_alive(found["process_id"]), found
        time.sleep(0.05)
    assert again.stop(force=True)["status"] == "stopped"


def shim_of(spawned: dict[str, Any]) -> psutil.Process:
    shim = psutil.Process(spawned["process_id"]).parent()
    assert shim is not None and "shim.py" in " ".join(shim.cmdline())
    return shim


def test_a_killed_shim_costs_no_other_agent_its_start(deployment: Succession) -> None:
    over_at = time.monotonic() + 15
    refused: list[str] = []
    started: list[str] = []

    def spawn(command: list[str]) -> dict[str, Any] | None:
        body = {"agent_type": "python-specialist", "issue_id": "issue-1", "command": command}
        answer = deployment.sidecar.request(
            "POST", "/api/agents/spawn", deployment.sidecar.operator, json=body, timeout=60
        )
        if answer.status_code != 201:
            refused.append(answer.text)
            return None
        spawned: dict[str, Any] = answer.json()
        return spawned

    def work() -> None:
        while time.monotonic() < over_at and not refused:
            if spawned := spawn(["true"]):
                started.append(spawned["agent_id"])

    def kill() -> None:
        while time.monotonic() < over_at and not refused:
            if spawned := spawn(["sleep", "600"]):
                shim_of(spawned).kill()

    threads = [threading.Thread(target=target) for target in (work, work, work, kill, kill, kill)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert refused == [], f"after {len(started)} starts"
    ended = [until(lambda each=each: ended_agent(deployment, each), "its end") for each in started]
    assert {(each["status"], each["reason"]) for each in ended} == {("completed", "exited with code 0")}


def test_no_zombies_of_agents_whose_shims_were_killed_remain(deployment: Succession) -> None:
    server = psutil.Process(deployment.sidecar.process.pid)
    family = "sleep 600 & setsid sleep 600 & (setsid sleep 600 &) ; sleep 600"

    def zombies() -> list[psutil.Process]:
        return [each for each in server.children(recursive=True) if not process_alive(each.pid)]

    for _ in range(4):
        body = {"agent_type": "python-specialist", "issue_id": "issue-1", "command": ["sh", "-c", family]}
        spawned = [call(deployment.sidecar, "POST", "/api/agents/spawn", json=body) for _ in range(5)]
        for each in spawned:
            run = deployment.storage / "agents" / each["agent_id"] / "1"
            until(lambda run=run: len(of_run(run)) == 6, "the whole process tree")
        for each in spawned:
            shim_of(each).kill()
        for each in spawned:
            until(lambda each=each: ended_agent(deployment, each["agent_id"]), "its end")
            assert not of_run(deployment.storage / "agents" / each["agent_id"])
    until(lambda: not zombies(), "no zombies", 10)
    until(lambda: not agents_of(server), "no children of the sidecar", 10)


def test_a_spawn_whose_caller_disconnects_is_still_supervised(deployment: Succession) -> None:
    """At whatever moment it disconnects: either nothing was started, or the agent is supervised to its end."""
    with grpc.insecure_channel(deployment.sidecar.target) as channel:
        stub = agent_service_pb2_grpc.AgentServiceStub(channel)
        for number in range(60):
            request = agent_service_pb2.SpawnAgentRequest(
                agent_type="python-specialist", issue_id="issue-1", command=["true"]
            )
            spawning = stub.SpawnAgent.future(request, metadata=deployment.sidecar.operator.metadata)
            time.sleep(0.002 + 0.0005 * (number % 20))
            spawning.cancel()
    found = call(deployment.sidecar, "GET", "/api/agents?limit=1000")["agents"]
    assert found, "every call was cancelled before it was read"
    for agent in found:
        assert until(lambda agent=agent: ended_agent(deployment, agent["agent_id"]), "its end")["status"] == "completed"


def test_of_concurrent_resumes_one_succeeds(deployment: Succession, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.touch()
    agent = deployment.spawn([{"do": "until", "path": str(go)}], agent_type="qa-engineer", command=[])
    agent.wait("completed")
    architects = [deployment.sidecar.agent("chief-architect", project="default") for _ in range(8)]
    path = f"/api/agents/{agent.id}/resume"

    def start(who: Agent) -> int:
        return deployment.sidecar.request("POST", path, who, json={}, timeout=60).status_code

    for attempt in range(2, 10):
        go.unlink()
        with ThreadPoolExecutor(8) as pool:
            codes = sorted(pool.map(start, architects))
        assert codes == [200, *[409] * 7]
        go.touch()
        until(lambda: ended_agent(deployment, agent.id), "its end")
        assert agent.get()["attempt"] == attempt


async def test_a_stale_resume_does_not_start_an_agent_that_ran_meanwhile(tmp_path: Path) -> None:
    with contextlib.closing(Database(Sqlite(tmp_path / "records.db"))) as database:
        store = SqlAgents(database)
        known = agent_service_pb2.Agent(
            agent_id="slow", project_id="p", status=agent_service_pb2.AGENT_STATUS_COMPLETED, attempt=1
        )
        await store.add(known, agent_service_pb2.SpawnAgentRequest(), created=1)
        now = agent_service_pb2.Agent()
        now.CopyFrom(known)
        now.attempt = 2
        await store.save(now)
        # It is refused before any of the other parts is needed.
        unused = dict.fromkeys(("records", "attempts", "runners", "types", "clock", "placement"))
        supervisor: Any = Supervisor(store, **unused)  # type: ignore[arg-type]
        with pytest.raises(SidecarError, match="has not ended") as refused:
            await supervisor.resume(known, "", "resumed")
        assert refused.value.code == "AGT_005" and not supervisor.active
        stored = await store.by_id("slow")
        assert stored is not None and stored.agent == now


def test_a_start_that_is_stopped_at_once_is_answered(deployment: Succession) -> None:
    agent = deployment.spawn([])
    agent.wait()
    paths = (("POST", f"/api/agents/{agent.id}/resume"), ("DELETE", f"/api/agents/{agent.id}?force=true"))

    def ask(act: tuple[str, str]) -> int:
        return deployment.sidecar.request(*act, deployment.sidecar.operator, json={}, timeout=30).status_code

    for _ in range(15):
        with ThreadPoolExecutor(2) as pool:
            assert all(code in (200, 404, 409) for code in pool.map(ask, paths))
        until(lambda: ended_agent(deployment, agent.id), "its end")


def test_an_agent_whose_type_is_no_longer_configured_ends_normally(
    deployment: Succession, root: Path, tmp_path: Path
) -> None:
    config = root / "config" / "orchestra-config.json"
    config.parent.mkdir()
    own = {"name": "Own", "type": "own-type", "role": "Own", "permissions": ["read_context", "write_results"]}
    config.write_text(json.dumps({"codingAgents": [own]}))
    deployment.crash()
    deployment.open()
    gate = tmp_path / "gate"
    script = f'echo last words; while [ ! -e "{gate}" ]; do sleep 0.02; done'
    body = {"agent_type": "own-type", "issue_id": "issue-1", "command": ["sh", "-c", script]}
    agent = SpawnedAgent(deployment.sidecar, call(deployment.sidecar, "POST", "/api/agents/spawn", json=body))
    deployment.crash()
    config.unlink()
    deployment.open()
    gate.touch()
    ended = deployment.now(agent).wait()
    assert (ended["status"], ended["exit_code"], ended["last_output"]) == ("completed", 0, ["last words"])


def test_leftover_files_of_an_agent_do_not_block_the_next_start(deployment: Succession) -> None:
    script = 'touch "$AGENT_RUN_DIR/../../mine" "$AGENT_RUN_DIR/../../../.DS_Store"'
    agent = deployment.spawn([{"do": "run", "command": ["sh", "-c", script]}])
    assert agent.wait()["status"] == "completed"
    assert (deployment.storage / "agents" / agent.id / "mine").exists()
    deployment.crash()
    deployment.open()
    assert deployment.now(agent).get()["status"] == "completed"


def test_many_open_descriptors_do_not_break_starting_a_shim(tmp_path: Path) -> None:
    """select(2) does not support descriptors above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY and hard < 4096 else 4096
    if most < 2048:
        pytest.skip("this user may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        run = Run(tmp_path / "run")
        run.prepare()
        asyncio.run(run.spawn({"argv": ["true"], "env": dict(os.environ), "cwd": "/", "limits": {}}))
        assert asyncio.run(run.ended()).exit_code == 0
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_of_another_user_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process started by `sudo` cannot be killed; the shim reports that and exits."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            assert not shim.signal_all(os.getpid(), 0)
            monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
            assert shim.signal_all(os.getpid(), 0)
        finally:
            child.kill()


class CutShort(http.server.BaseHTTPRequestHandler):
    """Its first answer is cut off."""

    answered = 0

    def do_GET(self) -> None:
        CutShort.answered += 1
        body = b'{"context": {"relevant_files": []}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if CutShort.answered > 1 else body[:10])

    def log_message(self, *_: object) -> None:
        pass


def test_the_scripted_agent_retries_when_an_answer_is_cut_off() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CutShort) as server:
        threading.Thread(target=server.serve_forever).start()
        identity = dict.fromkeys(("JWT_TOKEN", "AGENT_ID", "AGENT_TYPE", "ISSUE_ID"), "x")
        url = f"http://127.0.0.1:{server.server_port}"
        environment = identity | {"SIDECAR_URL": url, "TASK_SCRIPT": '[{"do": "context"}]'}
        done = subprocess.run(scripted_command(), env=environment, capture_output=True, text=True, check=False)
        server.shutdown()
    assert (done.returncode, done.stdout) == (0, "context: 0 files\n"), done.stderr
