"""A working day of eight hours with tokens that last one hour: no working agent is refused, and no killed agent is let
in. The test moves the clock instead of waiting for hours.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tests.support import day_agent
from tests.support.clocked import ClockControl, ClockedSidecar, free_ports
from tests.support.processes import lines_in
from tests.support.sidecars import until

from cco_sidecar.client.connection import claims_of
from cco_sidecar.client.errors import error_of
from cco_sidecar.testing.agents import SpawnedAgent, scripted_command
from orchestra.v1 import event_service_pb2, event_service_pb2_grpc

HOUR = 3600
# Minutes of each step: tens of minutes, the last minutes of an hour one by one, three hours at once, and thirty
# minutes back. Eight hours in all.
STEPS = (10, 10, 10, 10, 10, 7, 3, 10, 10, 30, 5, 15, 180, 10, -30, 10, 10, 10, 30, 7, 3, 10, 10, 10, 50, 40)
CONFIG = {
    "agents": {
        # The day is long for the clock only, and rate limits are not under test.
        "rate_limits": dict.fromkeys(("coding_specialists", "documentation", "support", "quality"), 0),
        "runners": {
            "qa-engineer": {"command": scripted_command(), "retry": {"attempts": 2, "backoff_seconds": 600}},
            "test-automator": {"command": scripted_command(), "retry": {"attempts": 2, "backoff_seconds": 3}},
        },
    }
}
SPAWNED = (
    ("environment", "python-specialist"),
    ("environment", "chief-architect"),
    ("file", "test-engineer"),
    ("sdk", "python-specialist"),
    ("refreshing", "python-specialist"),
)

FAIL = json.dumps([{"do": "exit", "code": 1}])
# Revoked, possibly also expired.
DEAD = {"AUTH_001", "AUTH_002"}


class Day:
    """A sidecar, its clock, and agents that work one turn at a time."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory = directory
        self.root = root
        self.clock = ClockControl(directory / "clock")
        self.config = directory / "config.json"
        self.config.write_text(json.dumps(CONFIG))
        self.ports = free_ports()
        self.turn = 0
        self.workers: list[Worker] = []
        self.crashed = False
        self.start()

    def start(self) -> None:
        self.sidecar = ClockedSidecar(
            self.directory / "storage", self.root, self.clock, ports=self.ports, config=self.config
        )

    def restart(self) -> None:
        """After a crash: the agents still run, and only their open streams are lost."""
        self.sidecar.kill()
        self.start()
        self.crashed = True

    def spawn(self, kind: str, agent_type: str) -> Worker:
        types = self.sidecar.request("GET", "/api/agent-types", self.sidecar.operator).json()["agent_types"]
        (may,) = [each["permissions"] for each in types if each["type"] == agent_type]
        body = {
            "agent_type": agent_type,
            "issue_id": "issue-day",
            "command": [sys.executable, day_agent.__file__, kind, str(self.directory)],
            "environment": {"MAY": json.dumps(may)},
        }
        answer = self.sidecar.request("POST", "/api/agents/spawn", self.sidecar.operator, json=body)
        assert answer.status_code == 201, answer.text
        self.workers.append(Worker(self, kind, answer.json()))
        return self.workers[-1]

    def step(self, minutes: float = 0.0) -> None:
        """Moves the clock; every agent makes its calls, and none of them is refused."""
        self.clock.move(minutes=minutes)
        self.turn += 1
        told = {"topic": "coordination", "data": {"turn": self.turn}}
        assert self.sidecar.request("POST", "/api/events/turn", self.sidecar.operator, json=told).status_code == 202
        fresh = self.directory / "turn.new"
        fresh.write_text(str(self.turn))
        fresh.replace(self.directory / "turn")
        for worker in self.workers:
            worker.check_turn()

    def refused(self, token: str) -> str:
        """The error code of a call with the token; the same on both transports, and empty when it is accepted."""
        rest = requests.get(f"{self.sidecar.url}/api/events", headers={"Authorization": f"Bearer {token}"}, timeout=20)
        code = rest.json()["code"] if rest.status_code == 401 else ""
        assert code or rest.status_code == 200, rest.text
        try:
            with grpc.insecure_channel(self.sidecar.target) as channel:
                event_service_pb2_grpc.EventServiceStub(channel).ListEvents(
                    event_service_pb2.ListEventsRequest(limit=1), metadata=[("authorization", f"Bearer {token}")]
                )
            other = ""
        except grpc.RpcError as problem:
            assert problem.code() is grpc.StatusCode.UNAUTHENTICATED, problem
            other = error_of(problem).code
        assert code == other, f"REST says {code!r}, gRPC says {other!r}"
        return code


class Worker:
    """One of the day's agents, as the test sees it. ``tokens`` is every token it received, ``used`` the tokens it made
    calls with.
    """

    def __init__(self, day: Day, kind: str, spawned: dict[str, Any]) -> None:
        self.day = day
        self.kind = kind
        self.agent = SpawnedAgent(day.sidecar, spawned)
        self.tokens = {spawned["jwt_token"]: None}
        self.used: dict[str, None] = {}
        self.file = day.sidecar.storage / "agents" / self.agent.id / "1" / "agent" / "token"
        self.seen: dict[str, Any] = {}

    @property
    def environment_token(self) -> str:
        return next(iter(self.tokens))

    def check_turn(self) -> None:
        journal = self.day.directory / f"{self.agent.id}.jsonl"

        def written() -> dict[str, Any] | None:
            lines = lines_in(journal)
            last = json.loads(lines[-1]) if lines else {}
            return last if last.get("turn") == self.day.turn else None

        self.seen = until(written, f"{self.kind} agent {self.agent.id} did not work turn {self.day.turn}", 60)
        refused = [call for call in self.seen["calls"] if call[2] != "ok"]
        assert self.seen["calls"] and not refused, f"{self.kind} agent, turn {self.day.turn}: {refused}"
        assert self.seen["lost"] == [] or self.day.crashed, f"{self.kind} agent, turn {self.day.turn}"
        self.tokens[self.seen["token"]] = self.used[self.seen["token"]] = None

    def check_file(self) -> None:
        """The token in its file is valid by the clock alone, for at most an hour."""

        def good() -> bool:
            token = self.file.read_text().strip()
            claims = claims_of(token)
            self.tokens[token] = None
            return claims["exp"] - claims["iat"] <= HOUR and 0 < claims["exp"] - self.day.clock.now <= HOUR + 5

        until(good, f"the token in the file of the {self.kind} agent is not good at turn {self.day.turn}", 10)

    def kill(self) -> None:
        answer = self.day.sidecar.request(
            "DELETE", f"/api/agents/{self.agent.id}?force=true", self.day.sidecar.operator
        )
        assert (answer.status_code, answer.json()["status"]) == (200, "stopped"), answer.text
        self.day.workers.remove(self)


@pytest.fixture
def day(tmp_path: Path, repository: Path) -> Iterator[Day]:
    begun = Day(tmp_path, repository)
    yield begun
    assert begun.sidecar.stop() == ""


class Streams:
    """Streams opened with a token, on both transports; ``ended`` has a reason for each closed stream."""

    def __init__(self, day: Day, tokens: list[str]) -> None:
        self.ended: list[str] = []
        self.count = 2 * len(tokens)
        self._channel = grpc.insecure_channel(day.sidecar.target)
        stub = event_service_pb2_grpc.EventServiceStub(self._channel)
        for token in tokens:
            stream = stub.Subscribe(
                event_service_pb2.SubscribeRequest(event_types=["never"]),
                metadata=[("authorization", f"Bearer {token}")],
            )
            next(stream)
            headers = {"Authorization": f"Bearer {token}"}
            sse = requests.get(f"{day.sidecar.url}/api/events/stream/never", headers=headers, stream=True, timeout=120)
            assert sse.status_code == 200, sse.text
            for work in ((self._grpc, stream), (self._sse, sse)):
                threading.Thread(target=work[0], args=(work[1],), daemon=True).start()

    def _grpc(self, stream: Any) -> None:
        try:
            for _ in stream:
                pass
            self.ended.append("OK")
        except grpc.RpcError as problem:
            self.ended.append(error_of(problem).code)

    def _sse(self, answer: requests.Response) -> None:
        text = ""
        try:
            for line in answer.iter_lines(decode_unicode=True):
                text += line
        finally:
            self.ended.append(next((code for code in DEAD if code in text), text))

    def close(self) -> None:
        self._channel.close()


def test_no_working_agent_is_refused_in_eight_hours(day: Day) -> None:
    assert sum(STEPS) == 8 * 60
    for kind, agent_type in SPAWNED:
        day.spawn(kind, agent_type)
    for kind, agent_type in (("file", "technical-writer"), ("environment", "review-agent")):
        day.spawn(kind, agent_type)
    guest = day.sidecar.agent(project="default")
    let_in_until = claims_of(guest.token)["exp"]
    day.step()
    for minutes in STEPS:
        day.step(minutes)
        for worker in day.workers:
            worker.check_file()
        assert day.refused(guest.token) == ("" if day.clock.now < let_in_until else "AUTH_002")
    refreshing, sdk = (next(w for w in day.workers if w.kind == kind) for kind in ("refreshing", "sdk"))
    assert len(refreshing.used) >= 5 and len(sdk.used) >= 3
    for worker in day.workers:
        if worker.kind != "refreshing":
            # Each turn's event came once and in order, through the stream that was open all day.
            until(lambda worker=worker: day.step() is None and worker.seen["heard"][-1] >= len(STEPS), "no events")
            assert worker.seen["heard"] == list(range(1, worker.seen["heard"][-1] + 1))
    check_deaths(day)


def check_deaths(day: Day) -> None:
    """The agents are killed one after the other: each one's tokens become invalid, everyone else's stay valid."""
    for worker in list(day.workers):
        alive = [token for token in worker.tokens if not day.refused(token)]
        assert alive, "there are no tokens to revoke"
        assert worker.file.read_text().strip() in alive
        if worker.kind == "environment":
            assert worker.environment_token in alive
        streams = Streams(day, alive)
        worker.kill()
        assert all(day.refused(token) in DEAD for token in worker.tokens)
        until(lambda streams=streams: len(streams.ended) == streams.count, "an unexpected open stream", 5)
        assert set(streams.ended) <= DEAD, streams.ended
        streams.close()
        day.step(1)


@pytest.mark.parametrize("back", [0, -30])
def test_a_killed_agents_tokens_stay_invalid_whatever_the_clock_does(day: Day, back: int) -> None:
    workers = [day.spawn(kind, "python-specialist") for kind in ("environment", "refreshing")]
    day.step()
    day.step(58)
    day.step(back)
    for worker in workers:
        worker.check_file()
        worker.kill()
    day.workers.clear()
    tokens = [token for worker in workers for token in worker.tokens]
    assert len(tokens) >= 3
    for minutes in (0, 10, 10, 10, 10, -50, 60):
        day.clock.move(minutes=minutes)
        let_in = [claims_of(token)["iat"] - day.clock.now for token in tokens if not day.refused(token)]
        assert not let_in, "a killed agent's token is valid again"
    day.restart()
    assert not [token for token in tokens if not day.refused(token)]


def test_open_streams_end_at_once_even_after_the_clock_was_set_back(day: Day) -> None:
    day.clock.move(minutes=60)
    worker = day.spawn("environment", "python-specialist")
    day.step()
    streams = Streams(day, [worker.environment_token])
    day.step(-30)
    worker.kill()
    until(lambda: len(streams.ended) == streams.count, "an unexpected open stream", 5)
    assert set(streams.ended) == {"AUTH_001"}
    streams.close()


def test_a_crash_of_the_sidecar_costs_no_agent_its_token(day: Day) -> None:
    for kind in ("environment", "file", "refreshing"):
        day.spawn(kind, "python-specialist")
    for minutes in (0, 50, 15, 30):
        day.step(minutes)
        day.restart()
        day.step()
        for worker in day.workers:
            worker.check_file()
    check_deaths(day)


def test_an_exchanged_token_stays_invalid(day: Day) -> None:
    worker = day.spawn("refreshing", "python-specialist")
    day.step()
    day.step(57)
    assert len(worker.tokens) == 2
    assert day.refused(worker.environment_token) == "AUTH_001"
    day.step(10)
    assert day.refused(worker.environment_token) == "AUTH_001"
    day.restart()
    assert day.refused(worker.environment_token), "an exchanged token is valid again after a restart"


def test_programs_of_one_agent_do_not_revoke_each_others_tokens(day: Day) -> None:
    day.spawn("family", "python-specialist")
    for minutes in (0, 50, 7, 3, 50, 7, 60):
        day.step(minutes)


def test_a_failed_renewal_is_retried(day: Day) -> None:
    worker = day.spawn("file", "python-specialist")
    day.step()
    kept = worker.file.rename(worker.file.with_name("kept"))
    worker.file.mkdir()
    day.clock.move(minutes=70)
    log = day.sidecar.storage / "logs" / "orchestration.log"
    until(lambda: f"maintenance of agent {worker.agent.id}" in log.read_text(), "the renewal did not fail", 15)
    worker.file.rmdir()
    kept.rename(worker.file)
    worker.check_file()


def test_an_agent_whose_token_the_operator_revoked_gets_no_new_one(day: Day) -> None:
    """It keeps running, and its token is due for renewal; this also holds after a crash, and if it deleted its token
    file.
    """
    cut, careless, other = (day.spawn("file", "python-specialist") for _ in range(3))
    day.step()
    careless.file.write_text("")
    day.restart()
    until(careless.file.read_text, "a fresh token")
    for worker in (cut, careless):
        body = {"agent_id": worker.agent.id}
        answer = day.sidecar.request("POST", "/api/tokens/revoke", day.sidecar.operator, json=body)
        assert answer.status_code == 200, answer.text
    for _ in range(2):
        day.clock.move(minutes=57)
        # Tokens are renewed in order: when this agent has a fresh one, the other has been checked too.
        other.check_file()
        for worker in (cut, careless):
            assert day.refused(worker.file.read_text().strip()) == "AUTH_001"
        day.restart()
    for worker in (cut, careless):
        assert worker.agent.get()["status"] in ("running", "stuck")


def test_a_token_made_for_an_ended_agent_is_valid_for_an_hour_only(day: Day) -> None:
    worker = day.spawn("environment", "python-specialist")
    day.step()
    worker.kill()
    # Later than the revocation of its earlier tokens.
    day.clock.move(minutes=1)
    body = {"agent_type": "python-specialist", "agent_id": worker.agent.id, "issue_id": "i"}
    answer = day.sidecar.request("POST", "/api/tokens", day.sidecar.operator, json=body)
    assert answer.status_code == 201, answer.text
    token = answer.json()["jwt_token"]
    assert day.refused(token) == ""
    day.clock.move(minutes=62)
    assert day.refused(token) == "AUTH_002"


def test_the_operator_is_not_locked_out_by_a_clock_set_back(day: Day) -> None:
    day.clock.move(minutes=-30)

    def let_in() -> bool:
        return day.sidecar.request("GET", "/api/agents", day.sidecar.operator).status_code == 200

    until(let_in, "the operator's token is refused", 15)


def failing(day: Day, agent_type: str) -> SpawnedAgent:
    """An agent that has failed and waits for its next attempt."""
    body = {"agent_type": agent_type, "issue_id": "issue-1", "environment": {"TASK_SCRIPT": FAIL}}
    answer = day.sidecar.request("POST", "/api/agents/spawn", day.sidecar.operator, json=body)
    assert answer.status_code == 201, answer.text
    agent = SpawnedAgent(day.sidecar, answer.json())
    agent.wait("pending")
    return agent


def test_an_agent_that_waits_for_its_next_attempt_has_no_token(day: Day) -> None:
    waiting = failing(day, "qa-engineer")
    worker = day.spawn("file", "python-specialist")
    day.step()
    for minutes in (58, 58):
        day.step(minutes)
        # Tokens are renewed in order: when this agent has a fresh one, the other has been checked too.
        until(lambda: claims_of(worker.file.read_text())["exp"] - day.clock.now > HOUR - 120, "a fresh token")
        run = day.sidecar.storage / "agents" / waiting.id / "1"
        assert [path.name for path in run.iterdir()] == ["output.log"]
    assert waiting.get()["status"] == "pending"
    assert waiting.token is not None and day.refused(waiting.token)


def test_a_clock_set_back_does_not_delay_the_next_attempt(day: Day) -> None:
    day.clock.move(minutes=40)
    waiting = failing(day, "test-automator")
    day.clock.move(minutes=-30)
    day.restart()
    ended = SpawnedAgent(day.sidecar, waiting.spawned).wait("failed")
    assert ended["attempt"] == 2
