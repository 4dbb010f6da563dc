"""An agent that attacks whatever it can reach, under the default settings; and what everybody else notices."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from tests.support.processes import process_alive
from tests.support.repositories import commit_all, git
from tests.support.sidecars import Deployment, call, serving, until, written

import cco_sidecar
from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess

SCRIPT = Path(__file__).with_name("agent.py")
CODER, ARCHITECT = "python-specialist", "chief-architect"
PHASES = ("files", "processes", "namespaces", "sockets", "api", "context")
# Each of these gets its own sidecar, so that what it leaves behind disturbs no other attack.
LOUD = ("load", "results")
# The sidecar's own delay: how long a caller waits, not counting the time that the machine had no CPU for it.
MAX_DELAY = 0.25
_EVERY = 0.02
_PHASE_SECONDS = 240.0
_OTHER_WORD = "Plans-of-the-neighbour"
_KEY_VALUE = "hostile-credential-value"


# -- how long others wait ---------------------------------------------------------------------------------


class HealthCheck(NamedTuple):
    """One `GET /health`. ``own`` excludes the time for which the sidecar or the caller waited for a CPU; ``answered``
    is false when there was no answer.
    """

    began: float
    took: float
    own: float
    answered: bool


def cpu_wait(pid: int, thread: int) -> float:
    """Seconds that a thread was ready to run but not running (proc(5), schedstat); 0 where that is not counted."""
    try:
        return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class Probe:
    """Checks the sidecar's health every 20 ms, on one persistent connection."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self._port, self._pid = sidecar.port, sidecar.process.pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.looks: list[HealthCheck] = []

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _waited(self) -> float:
        ours = cpu_wait(os.getpid(), threading.get_native_id())
        return ours + cpu_wait(self._pid, self._pid)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stop.wait(_EVERY):
            began, before = time.monotonic(), self._waited()
            try:
                connection.request("GET", "/health")
                answered = connection.getresponse().read() != b""
            except (OSError, http.client.HTTPException):
                connection.close()
                answered = False
            took = time.monotonic() - began
            self.looks.append(HealthCheck(began, took, max(0.0, took - (self._waited() - before)), answered))
        connection.close()

    def worst_of(self, times: Mapping[str, tuple[float, float]]) -> dict[str, HealthCheck]:
        """The longest wait during each attempt. A wait across several attempts counts for the one it overlaps most."""
        found = dict.fromkeys(times, HealthCheck(0.0, 0.0, 0.0, True))
        for look in self.looks:
            name = max(times, key=lambda each: _shared(look, *times[each]))
            if _shared(look, *times[name]) >= 0:
                found[name] = max(found[name], look, key=lambda each: (not each.answered, each.own))
        return found


def _shared(look: HealthCheck, began: float, ended: float) -> float:
    """Seconds of overlap; negative when there is none."""
    return min(look.began + look.took, ended) - max(look.began, began)


# -- the deployment under attack ----------------------------------------------------------------------------


@dataclass
class AttackSetup:
    """A sidecar with everything that an attacker would like to have, and two idle agents."""

    sidecar: SidecarProcess
    base: Path
    targets: dict[str, Any]
    victims: dict[str, dict[str, Any]]


def project(path: Path, word: str, name: str = "app.py") -> Path:
    path.mkdir(parents=True)
    (path / name).write_text(f"# {word}\n")
    (path / "README.md").write_text(f"# {word}\n")
    commit_all(path, word)
    return path


def stand_in(directory: Path) -> Path:
    """A program `claude` that waits until it is killed."""
    directory.mkdir()
    program = directory / "claude"
    program.write_text("#!/bin/sh\nexec sleep 120\n")
    program.chmod(0o755)
    return directory


def handle_of(path: Path) -> dict[str, Any] | None:
    """The input for open_by_handle_at(2); None where handles are not supported."""
    size = 128
    handle = ctypes.create_string_buffer(8 + size)
    ctypes.memmove(handle, size.to_bytes(4, sys.byteorder), 4)
    mount = ctypes.c_int()
    if ctypes.CDLL(None).name_to_handle_at(-100, os.fsencode(path), handle, ctypes.byref(mount), 0):
        return None
    length = int.from_bytes(handle.raw[:4], sys.byteorder)
    kind = int.from_bytes(handle.raw[4:8], sys.byteorder, signed=True)
    return {"type": kind, "bytes": handle.raw[8 : 8 + length].hex()}


@contextmanager
def listening_bus(path: Path) -> Iterator[None]:
    """Accepts every identity, as a user's D-Bus does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transport = socket.socket(socket.AF_UNIX)
    transport.bind(str(path))
    transport.listen(16)

    def serve() -> None:
        while True:
            try:
                guest, _ = transport.accept()
            except OSError:
                return
            with guest, suppress(OSError):
                guest.settimeout(5)
                guest.recv(200)
                guest.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")

    serving_guests = threading.Thread(target=serve, daemon=True)
    serving_guests.start()
    try:
        yield
    finally:
        transport.shutdown(socket.SHUT_RDWR)
        transport.close()
        serving_guests.join(5)


def spawned(sidecar: SidecarProcess, agent_type: str, issue: str, *command: str, **more: Any) -> SpawnedAgent:
    body = {"agent_type": agent_type, "issue_id": issue, "command": list(command), **more}
    return SpawnedAgent(sidecar, call(sidecar, "POST", "/api/agents/spawn", json=body))


def idle(sidecar: SidecarProcess, project_id: str, issue: str, tag: str) -> dict[str, Any]:
    program = "import time; print('a line', flush=True); time.sleep(900)"
    agent = spawned(sidecar, CODER, issue, sys.executable, "-c", program, tag, project_id=project_id)
    directory = sidecar.storage / "agents" / agent.id
    return {
        "agent_id": agent.id,
        "pid": agent.spawned["process_id"],
        "issue": issue,
        "tag": tag,
        "directory": str(directory),
    }


def sockets_of(sidecar: SidecarProcess) -> list[str]:
    """The sidecar's listening sockets in the file system."""
    found = psutil.Process(sidecar.process.pid).net_connections(kind="unix")
    return sorted({str(each.laddr) for each in found if str(each.laddr).startswith("/")})


def settled(home: Path) -> None:
    """Creates what a user of the sidecar has in their home after a while."""
    own = home / ".cco"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    units = home / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "cco-sidecar.service.d").mkdir()
    for name in ("cco-sidecar.service", "cco-sidecar-2.service", "cco-sidecar.service.d/override.conf"):
        (units / name).write_text("[Service]\nEnvironment=CCO_SIDECAR_JWT_SECRET=a-long-secret\n")
        (units / name).chmod(0o600)


@contextmanager
def opened(base: Path) -> Iterator[AttackSetup]:
    """Everything together, under the default settings."""
    home = base / "home"
    settled(home)
    own = {kind: project(base / f"project-{kind}", "Of the attacked") for kind in (CODER, ARCHITECT)}
    other = project(base / "neighbour", _OTHER_WORD, "plans.py")
    runtime = base / "runtime"
    environment = {
        "HOME": str(home),
        "PATH": f"{stand_in(base / 'bin')}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(base / "tmp"),
        "XDG_RUNTIME_DIR": str(runtime),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
    }
    (base / "tmp").mkdir()
    projects = {kind: str(path) for kind, path in own.items()} | {"neighbour": str(other)}
    config = written(base / "config.json", projects=projects)
    storage = base / "tmp" / "cco-sidecar"
    with listening_bus(runtime / "bus"):
        sidecar = SidecarProcess(storage, other, config=config, environment=environment)
        try:
            call(sidecar, "PUT", "/api/credentials/HOSTILE_KEY", json={"value": _KEY_VALUE})
            targets = common_targets(sidecar, home, other)
            yield AttackSetup(sidecar, base, targets, {kind: victims_of(sidecar, kind) for kind in own})
        finally:
            complaints = ended(sidecar)
    assert complaints == ""


def ended(sidecar: SidecarProcess) -> str:
    """What it wrote to stderr; it is killed if it does not exit."""
    try:
        return sidecar.stop()
    except subprocess.TimeoutExpired:
        sidecar.kill()
        return "it did not end"


@pytest.fixture(scope="module")
def attack_setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackSetup]:
    with opened(tmp_path_factory.mktemp("grounds")) as made:
        yield made


def common_targets(sidecar: SidecarProcess, home: Path, other: Path) -> dict[str, Any]:
    package = Path(cco_sidecar.__file__).parent
    stranger = idle(sidecar, "neighbour", "stranger-issue", "idle-stranger")
    return {
        "storage": str(sidecar.storage),
        "sidecar_pid": sidecar.process.pid,
        "sockets": sockets_of(sidecar),
        "package": str(package),
        "site_packages": str(Path(pytest.__file__).parents[1]),
        "interpreter": sys.executable,
        "handle": handle_of(sidecar.storage / "operator.token"),
        "stranger": stranger,
        "other_project": str(other),
        "other_project_id": "neighbour",
        "other_word": _OTHER_WORD,
        "other_commit": git(other, "rev-parse", "HEAD").strip(),
        "key_begins": (home / ".cco" / "credentials.key").read_text()[:24],
    }


def victims_of(sidecar: SidecarProcess, kind: str) -> dict[str, Any]:
    """An idle agent in the project under attack, and one that has ended."""
    victim = idle(sidecar, kind, f"victim-issue-of-{kind}", f"idle-victim-of-{kind}")
    done = spawned(sidecar, CODER, "an-issue", "true", project_id=kind)
    done.wait()
    return {"victim": victim, "ended_agent": done.id, "project_id": kind}


# -- an attack --------------------------------------------------------------------------------------------


@dataclass
class Attack:
    """``report`` is the agent's own; ``times`` says when each attempt began and ended."""

    report: dict[str, str]
    times: dict[str, tuple[float, float]]

    @property
    def successes(self) -> list[str]:
        return [f"{name}: {said}" for name, said in self.report.items() if not said.startswith("refused:")]


def attack(sidecar: SidecarProcess, kind: str, phase: str, root: Path, targets: Mapping[str, Any]) -> Attack:
    """Runs the agent; returns its report on the attempts."""
    agent = spawned(
        sidecar, kind, f"issue-{phase}", sys.executable, str(SCRIPT), phase,
        project_id=targets["project_id"],
        environment={"HOSTILE_TARGETS": json.dumps({**targets, "project": str(root)})},
    )  # fmt: skip
    pid = int(agent.spawned["process_id"])
    until(lambda: not process_alive(pid), f"the end of {phase}", timeout=_PHASE_SECONDS)
    times = root / f"hostile-times-{phase}.json"
    report = root / f"hostile-report-{phase}.json"
    assert times.exists(), report.read_text() if report.exists() else agent.logs()
    return Attack(json.loads(report.read_text()), json.loads(times.read_text()))


def judged(sidecar: SidecarProcess, kind: str, phase: str, targets: Mapping[str, Any], attacked: Attack) -> None:
    """Accepted input that may have done harm: it did if it is in somebody's context as another agent's decision, or as one
    on another issue than the agent's."""
    issues = (targets["victim"]["issue"], f"issue-{phase}")
    for name, said in attacked.report.items():
        word = said.removeprefix("left: ")
        if word == said:
            continue
        found = []
        for issue in issues:
            path = f"/api/context/{issue}/test-engineer?project_id={targets['project_id']}"
            outputs = call(sidecar, "GET", path)["context"].get("previous_agent_outputs", [])
            found += [
                f"it stands for {issue} as {each['agent_type']}'s"
                for each in outputs
                if each["decision"] == word
                and (each["agent_type"] != kind or (issue == issues[0] and each.get("issue_id") != issues[1]))
            ]
        attacked.report[name] = f"got: {', '.join(found)}" if found else "refused: it stands nowhere as another's"


def slow(looks: Mapping[str, HealthCheck], most: float) -> list[str]:
    return [
        f"{name}: others waited {look.own:.3f} s of the sidecar's own ({look.took:.3f} s in all)"
        f"{'' if look.answered else ' and got no answer'}"
        for name, look in looks.items()
        if look.own > most or not look.answered
    ]


def problems_of(attack_setup: AttackSetup, kind: str, phase: str) -> list[str]:
    """What an attack got, and for whom it was too slow meanwhile."""
    sidecar, targets = attack_setup.sidecar, attack_setup.targets | attack_setup.victims[kind]
    with Probe(sidecar) as probe:
        until(lambda: len(probe.looks) >= 25, "a quiet half second")
        quiet = max(look.own for look in probe.looks)
        attacked = attack(sidecar, kind, phase, attack_setup.base / f"project-{kind}", targets)
    judged(sidecar, kind, phase, targets, attacked)
    looks = probe.worst_of(attacked.times)
    worst = max(looks.values(), key=lambda look: look.own)
    print(f"{kind} {phase}: {len(looks)} attempts; worst wait {worst.own:.3f} s, of a quiet deployment {quiet:.3f} s")
    assert attacked.report
    return attacked.successes + slow(looks, max(MAX_DELAY, 3 * quiet))


def failing(problems: list[str]) -> str:
    return "\n" + "\n".join(problems)


def skip_unless_confined(sidecar: SidecarProcess) -> None:
    """Where the system has no namespaces, the sidecar says so at startup, and agents are not confined."""
    if "not sandboxed" in (sidecar.storage / "logs" / "orchestration.log").read_text():
        pytest.skip("this system cannot confine agents")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kind", [CODER, ARCHITECT])
def test_an_agent_gets_nothing(attack_setup: AttackSetup, kind: str, phase: str) -> None:
    if phase != "api":
        skip_unless_confined(attack_setup.sidecar)
    problems = problems_of(attack_setup, kind, phase)
    assert not problems, failing(problems)


def test_a_hostile_architect_starts_nothing_forbidden(attack_setup: AttackSetup) -> None:
    problems = problems_of(attack_setup, ARCHITECT, "spawning")
    assert not problems, failing(problems)


def test_the_end_of_an_attack_is_recorded_truthfully(attack_setup: AttackSetup) -> None:
    """Whatever the agents did to their records, the records say how the agents ended, and their victims are still
    running.
    """
    for kind, known in attack_setup.victims.items():
        path = f"/api/agents?project_id={kind}&limit=1000"

        def attackers_of(path: str = path) -> list[Any]:
            found = call(attack_setup.sidecar, "GET", path)["agents"]
            return [
                each for each in found if each["issue_id"].startswith("issue-") and each["spawned_by"] == "operator"
            ]

        # The last one may still be ending.
        until(lambda: all(each["status"] != "running" for each in attackers_of()), "the end of the attacks")
        attackers = attackers_of()
        assert {(each["status"], each.get("exit_code")) for each in attackers} <= {("completed", 0)}, attackers
        assert process_alive(known["victim"]["pid"])
    assert process_alive(attack_setup.targets["stranger"]["pid"])


@pytest.mark.parametrize("phase", LOUD)
@pytest.mark.parametrize("kind", [CODER, ARCHITECT])
def test_a_flooding_agent_delays_nobody(tmp_path: Path, kind: str, phase: str) -> None:
    """Nor does anything that was accepted delay the next start."""
    problems = []
    try:
        with opened(tmp_path) as attack_setup:
            problems += problems_of(attack_setup, kind, phase)
    except AssertionError as problem:
        problems.append(f"it came to no good end: {problem}")
    written_down = (tmp_path / "tmp" / "cco-sidecar" / "logs" / "orchestration.log").read_text()
    problems += [line for line in written_down.splitlines() if "the event loop was blocked" in line]
    with serving(tmp_path / "tmp", tmp_path / "neighbour", config=moved_storage(tmp_path)) as again:
        health = again.request("GET", "/health").status_code
        events = again.request("GET", f"/api/events?project_id={kind}&limit=1000&since=0", again.operator)
        results = again.request("GET", f"/api/results?project_id={kind}&limit=2", again.operator, timeout=60)
    if (health, events.status_code, results.status_code) != (200, 200, 200):
        problems.append(f"after the next start: {health}, {events.text[:200]}, {results.text[:200]}")
    assert not problems, failing(problems)


def moved_storage(base: Path) -> Path:
    """The storage as the next sidecar finds it, and its configuration."""
    (base / "tmp" / "cco-sidecar").rename(base / "tmp" / "storage")
    return base / "config.json"


def test_nothing_can_be_planted_for_the_next_start(tmp_path: Path) -> None:
    """Nobody may create files that do not exist yet: the next sidecar would take them for the operator's."""
    home = tmp_path / "home"
    home.mkdir()
    root = project(tmp_path / "project", "Of the attacked")
    with serving(tmp_path, root, environment={"HOME": str(home)}) as sidecar:
        skip_unless_confined(sidecar)
        targets = {"storage": str(sidecar.storage), "project_id": "default"}
        attacked = attack(sidecar, CODER, "fresh", root, targets)
    assert attacked.successes == []


def test_a_token_file_that_is_a_pipe_does_not_block_the_next_start(tmp_path: Path) -> None:
    """The next sidecar reads its agents' files; this agent replaced its token file with a pipe."""
    root = project(tmp_path / "project", "Of the attacked")
    deployment = Deployment(tmp_path, root)
    sidecar = deployment.start()
    pipe = 'rm "$JWT_TOKEN_FILE"; mkfifo "$JWT_TOKEN_FILE"; touch ready; exec sleep 60'
    agent = spawned(sidecar, CODER, "an-issue", "sh", "-c", pipe)
    until((root / "ready").exists, "the pipe")
    deployment.kill()
    begun = threading.Thread(target=deployment.start)
    begun.start()
    begun.join(10)
    late = begun.is_alive()
    if late:
        for place in (sidecar.storage / "agents" / agent.id).rglob("token"):
            os.close(os.open(place, os.O_RDWR | os.O_NONBLOCK))
        begun.join(30)
    deployment.stop()
    assert not late, "the next sidecar waits for a writer of the pipe"
