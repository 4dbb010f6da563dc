"""Chaos: agents, shims and the sidecar are killed and stopped at random, the disk fills up for a moment, the clock
jumps. Afterwards every agent's record is true, every acknowledged result is stored, and no process is left.

`make chaos` runs 200 rounds; CI runs a few. ``SEED`` repeats the choices of a run, but not its timing.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from tests.support import chaos_agent
from tests.support.clocked import ClockControl, ClockedSidecar, free_ports
from tests.support.disks import Disk
from tests.support.processes import lines_in
from tests.support.sidecars import agents, call, events, small_repository, until, written

from cco_sidecar.client.connection import claims_of
from cco_sidecar.core.agent_status import ENDED
from cco_sidecar.runners.run import MARK

AGENTS = 7
KINDS = ("worker", "worker", "parent", "stubborn", "short", "failing", "retrying")
RETRYING = "test-engineer"
ATTEMPTS = 3
ALIVE = ("running", "stuck")


@dataclass
class Round:
    """What was done to which agent, by agent id."""

    project: str
    kinds: dict[str, str] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)
    shimless: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    acts: list[str] = field(default_factory=list)
    disk_was_full: bool = False
    left: bool = False
    over: bool = False

    def disturbed(self, agent_id: str) -> bool:
        return agent_id in self.killed | self.shimless | self.asked


@dataclass
class Life:
    """What an attempt recorded about itself."""

    lines: list[str]

    @property
    def exits(self) -> int | None:
        return next((int(line.split()[1]) for line in self.lines if line.startswith("exits ")), None)

    @property
    def refused(self) -> str:
        return next((line for line in self.lines if line.startswith("refused ")), "")


class Chaos:
    """A storage, the consecutive sidecars on it, and the disturbances."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.notes = directory / "notes"
        self.notes.mkdir()
        self.disk = Disk(directory / "disk")
        self.storage = self.disk.path / "storage"
        self.root = small_repository(directory / "repository")
        self.clock = ClockControl(directory / "clock")
        self.ports = free_ports()
        command = [sys.executable, chaos_agent.__file__, "{task}", str(self.notes)]
        default = {"command": command, "timeout_seconds": 0}
        retrying = {"retry": {"attempts": ATTEMPTS, "backoff_seconds": 0.2}}
        self.config = written(
            directory / "config.json",
            agents={"rate_limits": {"coding": 0, "quality": 0}, "runners": {"default": default, RETRYING: retrying}},
        )
        self.standing: list[psutil.Process] = []
        self.threads: list[threading.Thread] = []
        self.rounds: list[Round] = []
        self.figures: Counter[str] = Counter()
        self.start()

    # -- the sidecar ---------------------------------------------------------------------------------------

    def start(self) -> None:
        self.sidecar = ClockedSidecar(self.storage, self.root, self.clock, ports=self.ports, config=self.config)
        self.disk_was_full = False
        # How far the clock may go back before the sidecar is younger than its operator's token.
        self.ahead = 0.0

    def close(self) -> None:
        try:
            self.disk.free()
            self.let_go()
            if self.sidecar.process.poll() is None:
                self.sidecar.kill()
        finally:
            for process in self.marked().values():
                for each in process:
                    with contextlib.suppress(psutil.Error):
                        each.kill()
            for pid in self.shims():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.disk.close()

    # -- inspecting ------------------------------------------------------------------------------------------

    def marked(self) -> dict[str, list[psutil.Process]]:
        """Run directory -> the processes that carry its mark and are not zombies."""
        found = defaultdict(list)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                mark = process.environ().get(MARK, "")
                if mark.startswith(f"{self.storage}/") and process.status() != psutil.STATUS_ZOMBIE:
                    found[mark.removesuffix("/agent")].append(process)
        return found

    def shims(self) -> dict[int, str]:
        """Pid -> run directory."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                line = process.cmdline()
                if len(line) > 2 and line[-2].endswith("shim.py") and line[-1].startswith(f"{self.storage}/"):
                    found[process.pid] = line[-1]
        return found

    def some_run(self) -> tuple[str, psutil.Process, psutil.Process | None] | None:
        """The agent id, shim and agent process of any run."""
        runs = sorted(self.shims().items())
        if not runs:
            return None
        pid, directory = self.random.choice(runs)
        with contextlib.suppress(psutil.Error):
            shim = psutil.Process(pid)
            # In a sandbox there is an init process above the agent itself.
            family = [each for child in shim.children()[:1] for each in (child, *child.children()[:1])]
            return Path(directory).parent.name, shim, self.random.choice(family) if family else None
        return None

    def life(self, agent_id: str, attempt: int) -> Life | None:
        path = self.notes / f"{agent_id}.{attempt}"
        return Life(lines_in(path)) if path.exists() else None

    def marks(self, what: str, agent_id: str) -> None:
        """Notes that something was done to an agent, even if its spawn has not been answered yet."""
        for each in self.rounds[-2:]:
            getattr(each, what).add(agent_id)

    # -- acts ----------------------------------------------------------------------------------------------

    def spawn(self, now: Round, kind: str) -> None:
        body = {
            "agent_type": RETRYING if kind == "retrying" else "python-specialist",
            "issue_id": "issue-chaos",
            "project_id": now.project,
            "task": kind,
        }
        try:
            answer = self.sidecar.request("POST", "/api/agents/spawn", self.sidecar.operator, json=body, timeout=60)
        except (requests.RequestException, OSError):
            self.figures["spawns that got no answer"] += 1
            return
        if answer.status_code == 201:
            now.kinds[answer.json()["agent_id"]] = kind
        else:
            assert answer.status_code in (500, 503), answer.text
            self.figures["spawns that were refused"] += 1

    def in_background(self, work: Callable[..., None], *arguments: Any) -> None:
        self.threads.append(threading.Thread(target=work, args=arguments))
        self.threads[-1].start()

    def kill_agent(self) -> None:
        if (found := self.some_run()) and found[2]:
            self.marks("killed", found[0])
            with contextlib.suppress(psutil.Error):
                found[2].kill()

    def kill_shim(self) -> None:
        if found := self.some_run():
            self.marks("shimless", found[0])
            with contextlib.suppress(psutil.Error):
                found[1].kill()

    def hold_agent(self) -> None:
        if (found := self.some_run()) and found[2]:
            self.hold(found[2])

    def hold_shim(self) -> None:
        if found := self.some_run():
            self.hold(found[1])

    def hold_sidecar(self) -> None:
        self.hold(psutil.Process(self.sidecar.process.pid))
        time.sleep(self.random.uniform(0, 0.2))
        self.let_go()

    def hold(self, process: psutil.Process) -> None:
        self.standing.append(process)
        with contextlib.suppress(psutil.Error):
            process.suspend()

    def let_go(self) -> None:
        for process in self.standing:
            with contextlib.suppress(psutil.Error):
                process.resume()
        self.standing.clear()

    def kill_sidecar(self) -> None:
        for each in self.rounds[-2:]:
            each.left = True
        self.sidecar.kill()
        while self.random.random() < 0.5:
            self.random.choice((self.kill_agent, self.kill_shim, self.jump_on, self.hold_agent))()
        # A sidecar does not start on a full disk.
        self.disk.free()
        self.start()

    def leave_sidecar(self) -> None:
        """A restart that leaves the agents running."""
        self.disk.free()
        for each in self.rounds[-2:]:
            each.left = True
        complaints = self.sidecar.leave()
        # Its log could not be written on a full disk; otherwise there must be no complaint.
        assert self.disk_was_full or complaints == "", complaints
        self.start()

    def fill_disk(self) -> None:
        if not self.disk.full:
            self.disk_was_full = True
            for each in self.rounds[-2:]:
                each.disk_was_full = True
            self.disk.fill(self.sidecar.process.pid)
            time.sleep(self.random.uniform(0.05, 0.5))

    def free_disk(self) -> None:
        self.disk.free()

    def jump_on(self) -> None:
        minutes = self.random.choice((1, 10, 57, 61, 180))
        self.ahead += minutes
        self.clock.move(minutes=minutes)

    def jump_back(self) -> None:
        minutes = self.random.uniform(0, min(self.ahead, 60))
        self.ahead -= minutes
        self.clock.move(minutes=-minutes)

    def stop_agent(self) -> None:
        known = [agent_id for each in self.rounds[-2:] for agent_id in each.kinds]
        if known:
            agent_id = self.random.choice(known)
            force = self.random.random() < 0.5
            self.in_background(self.stop, agent_id, force, self.random.choice((0.0, 0.3, 1.0)))

    def stop(self, agent_id: str, force: bool, timeout: float) -> None:
        self.marks("asked", agent_id)
        path = f"/api/agents/{agent_id}?force={str(force).lower()}&timeout={timeout}"
        with contextlib.suppress(requests.RequestException, OSError):
            answer = self.sidecar.request("DELETE", path, self.sidecar.operator, timeout=60)
            if answer.status_code == 200:
                assert answer.json()["status"] in ENDED, answer.text
                left = [mark for mark in self.marked() if f"/{agent_id}/" in mark]
                assert not left, f"stopped, but still running: {left}"

    # -- a round -------------------------------------------------------------------------------------------

    def round(self, number: int) -> None:
        now = Round(f"round-{number}")
        self.rounds.append(now)
        kinds = [self.random.choice(KINDS) for _ in range(AGENTS)]
        for kind in kinds:
            self.in_background(self.spawn, now, kind)
        acts: list[Callable[[], None]] = [
            self.kill_agent, self.kill_agent, self.kill_shim, self.hold_agent, self.hold_shim, self.hold_sidecar,
            self.let_go, self.kill_sidecar, self.leave_sidecar, self.fill_disk, self.fill_disk, self.free_disk,
            self.jump_on, self.jump_back, self.stop_agent,
        ]  # fmt: skip
        for _ in range(self.random.randint(3, 7)):
            time.sleep(self.random.uniform(0, 0.4))
            act = self.random.choice(acts)
            now.acts.append(act.__name__)
            self.figures[act.__name__] += 1
            act()
        self.settle()
        # Agents of some rounds keep working during the next round.
        carried = self.random.random() < 0.3
        for each in self.rounds:
            if not each.over and not (carried and each is now):
                self.finish(each)
        for each in self.rounds[-2:]:
            self.check(each)
        known = {agent_id for each in self.rounds for agent_id in each.kinds}
        strange = {mark for mark in self.marked() if Path(mark).parent.name not in known}
        assert not strange, f"processes of no known agent: {strange}"
        self.check_zombies()
        assert call(self.sidecar, "GET", "/health")["status"] == "healthy"

    def settle(self) -> None:
        self.disk.free()
        self.let_go()
        if self.sidecar.process.poll() is not None:
            raise AssertionError(f"the sidecar has ended: {self.sidecar.complaints}")
        for thread in self.threads:
            thread.join(90)
            assert not thread.is_alive(), "a call was not answered"
        self.threads.clear()

    def finish(self, each: Round) -> None:
        each.over = True
        (self.notes / f"over.{each.project}").touch()
        found: list[Any] = []

        def all_ended() -> bool:
            found[:] = agents(self.sidecar, each.project)
            return all(agent["status"] in ENDED for agent in found)

        try:
            until(all_ended, "the end of the round's agents", 60)
        except AssertionError:
            late = [agent for agent in found if agent["status"] not in ENDED]
            told = f"{late}, the time: {self.clock.now}, {self.marked()}, {self.shims()}"
            raise AssertionError(f"not ended: {told}") from None

    # -- checks --------------------------------------------------------------------------------------------

    def check(self, each: Round) -> None:
        listed = {agent["agent_id"]: agent for agent in agents(self.sidecar, each.project)}
        there, shims = self.marked(), self.shims()
        acks = {agent_id: self.acknowledged(agent_id) for agent_id in listed}
        assert each.kinds.keys() <= listed.keys(), "an acknowledged agent is missing"
        results: dict[str, list[str]] = defaultdict(list)
        for result in self.results(each.project):
            results[result["agent_id"]].append(result["id"])
        for agent_id, agent in listed.items():
            each.kinds.setdefault(agent_id, agent["task"])
            runs = [mark for mark in (*there, *shims.values()) if f"/{agent_id}/" in mark]
            if agent["status"] in ENDED:
                assert not runs, f"{agent_id} is {agent['status']} and has processes: {there}, {shims}"
                self.check_end(each, agent)
                self.check_files(each, agent)
                self.check_tokens(each, agent)
            else:
                self.check_alive(each, agent_id)
            assert set(acks[agent_id]) <= set(results[agent_id]), f"an acknowledged result is lost: {each.acts}"
            if agent["status"] in ENDED and acks[agent_id]:
                # The first is the newest.
                assert agent["result_id"] == results[agent_id][0], (agent, results[agent_id][:3], each.acts)
        self.check_events(each, listed)

    def acknowledged(self, agent_id: str) -> list[str]:
        return lines_in(self.notes / f"{agent_id}.acks")

    def results(self, project: str) -> list[Any]:
        """Newest first."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = call(self.sidecar, "GET", f"/api/results?project_id={project}&limit=1000&cursor={cursor}")
            found += page["results"]
            cursor = page["next_cursor"]
        return found

    def check_alive(self, each: Round, agent_id: str) -> None:
        """Whatever was suspended resumes soon."""

        agent: dict[str, Any] = {}

        def true() -> bool:
            agent.clear()
            agent.update(call(self.sidecar, "GET", f"/api/agents/{agent_id}"))
            if agent["status"] in ENDED:
                return True
            if agent["status"] == "pending":
                return False
            run = str(self.storage / "agents" / agent_id / str(agent["attempt"]))
            there = {process.pid for process in self.marked()[run]}
            # An attempt that ended while no sidecar ran is without a process until its end has been judged.
            return agent["status"] == "running" and agent.get("process_id") in there

        assert not each.over
        try:
            until(true, f"a true record of {agent_id}", 30)
        except AssertionError:
            told = f"{agent}, {self.marked()}, {self.shims()}"
            raise AssertionError(f"the record is not true: {told}, acts: {each.acts}") from None

    def check_end(self, each: Round, agent: dict[str, Any]) -> None:
        agent_id, attempt, status = agent["agent_id"], agent["attempt"], agent["status"]
        kind = each.kinds[agent_id]
        life = self.life(agent_id, attempt)
        lives = {number: self.life(agent_id, number) for number in range(1, ATTEMPTS + 2)}
        told = f"{kind} {agent}, its lives: {lives}, acts: {each.acts}, disturbed: {self.deeds(each, agent_id)}"
        assert agent["max_attempts"] == (ATTEMPTS if kind == "retrying" else 1), told
        assert attempt <= agent["max_attempts"], f"it ran too often: {told}"
        assert self.life(agent_id, attempt + 1) is None, f"it ran too often: {told}"
        assert not agent.keys() & {"process_id", "retry_at"} and agent["ended_at"], told
        code, by = agent.get("exit_code"), agent.get("signal")
        assert code is None or by is None, f"it exited and was killed: {told}"
        if life is None:
            # It never began, or was killed before it could record anything.
            possible = each.disk_was_full or each.disturbed(agent_id)
            assert possible and status in ("failed", "stopped") and code is None, told
            return
        assert life.lines.count("began") == 1, f"it ran twice: {told}"
        assert not life.refused or each.disturbed(agent_id), f"it was refused: {told}"
        if code is not None:
            assert code == life.exits or (status == "stopped" and code == -signal.SIGTERM), told
        if by is not None:
            own = "kills itself" in life.lines
            assert own or (by in ("SIGKILL", "SIGTERM") and each.disturbed(agent_id)), told
        if status == "completed":
            assert code == 0 and by is None, told
        elif status == "failed":
            assert code != 0, told
            if code is None and by is None:
                # An agent that was being stopped when the sidecar ended may have lost its shim by that.
                known = agent_id not in each.shimless and not (agent_id in each.asked and each.left)
                assert not known, f"how it ended should be known: {told}"
        else:
            assert agent_id in each.asked, f"nobody asked for it: {told}"
        if not each.disturbed(agent_id):
            expected = {"failing": ("failed", chaos_agent.FAILURE)}.get(kind, ("completed", 0))
            if kind != "retrying" or attempt == ATTEMPTS:
                assert (status, code) == expected, told
            else:
                assert each.disk_was_full, f"it was not retried: {told}"

    def deeds(self, each: Round, agent_id: str) -> list[str]:
        return [what for what in ("killed", "shimless", "asked") if agent_id in getattr(each, what)]

    def check_files(self, each: Round, agent: dict[str, Any]) -> None:
        """Only the output remains; that may take a moment."""
        directory = self.storage / "agents" / agent["agent_id"]
        left: list[str] = []

        def clean() -> bool:
            left[:] = [str(path.relative_to(directory)) for path in directory.glob("*/*") if path.name != "output.log"]
            return not left

        try:
            until(clean, "clean directories", 60)
        except AssertionError:
            tokens = [path.read_text().strip() for path in directory.glob("*/agent/token")]
            dead = [
                self.sidecar.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"}).status_code
                for token in tokens
            ]
            raise AssertionError(f"left behind: {sorted(left)}, its tokens: {dead}, {agent}, {each.acts}") from None

    def check_tokens(self, each: Round, agent: dict[str, Any]) -> None:
        for token in set(lines_in(self.notes / f"{agent['agent_id']}.tokens")):
            answer = self.sidecar.request("GET", "/api/events?limit=1", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, f"its token is still valid: {claims_of(token)}, {agent}, {each.acts}"

    def check_events(self, each: Round, listed: dict[str, Any]) -> None:
        """Every start and end is announced once; that may take a moment."""
        counted: Counter[tuple[str, str]] = Counter()
        wanted: set[tuple[str, str]] = set()
        for agent_id, agent in listed.items():
            last = f"{agent_id}/{agent['attempt']}"
            began = [number for number in range(1, agent["attempt"] + 1) if self.life(agent_id, number)]
            if not (each.disk_was_full and each.left):
                # Otherwise the pending announcement could not be recorded.
                wanted |= {("agent_spawned", f"{agent_id}/{number}") for number in began}
            if agent["status"] == "failed":
                wanted.add(("agent_failed", last))
            if agent["status"] == "completed" and not agent["result_id"]:
                wanted.add(("agent_completed", last))

        def announced() -> bool:
            ours = [e for e in events(self.sidecar, each.project) if e["publisher"] == "orchestration-sidecar"]
            counted.clear()
            counted.update((e["event_type"], e["correlation_id"]) for e in ours if e["event_type"] != "agent_stuck")
            return wanted <= counted.keys()

        try:
            until(announced, "the events", 10)
        except AssertionError:
            raise AssertionError(f"not announced: {wanted - counted.keys()}, {each.acts}") from None
        assert not [key for key, count in counted.items() if count > 1], f"announced twice: {counted}, {each.acts}"

    def check_zombies(self) -> None:
        zombies: list[Any] = []

        def none() -> bool:
            zombies.clear()
            for process in psutil.Process(self.sidecar.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    # An agent that is busy may take its time with its own children.
                    parent = " ".join(psutil.Process(process.ppid()).cmdline())
                    if process.status() == psutil.STATUS_ZOMBIE and "chaos_agent" not in parent:
                        zombies.append((process.as_dict(["pid", "ppid", "name", "create_time"]), time.time()))
            return not zombies

        try:
            until(none, "no zombies", 10)
        except AssertionError:
            family = psutil.Process(self.sidecar.process.pid).children(recursive=True)
            raise AssertionError(f"zombies: {zombies}; the process tree: {family}") from None


@contextlib.contextmanager
def chaos(directory: Path) -> Iterator[Chaos]:
    made = Chaos(directory, int(os.environ.get("SEED", "0")) or random.randrange(1, 10**9))
    try:
        yield made
    finally:
        made.close()


def play(made: Chaos, count: int) -> None:
    for number in range(1, count + 1):
        try:
            made.round(number)
        except Exception as problem:
            problem.add_note(f"SEED={made.seed}, round {number}, acts: {[each.acts for each in made.rounds[-2:]]}")
            raise
    for each in made.rounds:
        if not each.over:
            made.finish(each)
            made.check(each)
    for each in made.rounds:
        stored = {result["id"] for result in made.results(each.project)}
        acknowledged = {result_id for agent_id in each.kinds for result_id in made.acknowledged(agent_id)}
        assert acknowledged <= stored, "a result was lost later"
        made.figures["agents"] += len(each.kinds)
        made.figures["acknowledged results"] += len(acknowledged)
    assert made.marked() == {} and made.shims() == {}


def test_the_records_are_true_whatever_happens(tmp_path: Path) -> None:
    with chaos(tmp_path) as made:
        play(made, 4)


@pytest.mark.long
def test_200_rounds(tmp_path: Path) -> None:
    count = int(os.environ.get("ROUNDS", "200"))
    with chaos(tmp_path) as made:
        play(made, count)
        figures = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in sorted(made.figures.items()))
        print(f"{count} rounds of chaos (SEED={made.seed}): {figures}; nothing lost, nobody left, every record true")
