"""Agents, approvals, credentials and tokens through both doors: the documented answers, and one meaning."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.support.doors import METHODS, Answer, Door, Doors, bindings_of
from tests.support.repositories import git
from tests.support.sidecars import fresh, small_repository, until, written
from tests.wire import agent_shapes, shapes
from tests.wire.shapes import assert_shape

from cco_sidecar.testing.agents import SCRIPTED_AGENT, scripted_command
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import agent_service_pb2, approval_service_pb2

PROJECT = "project-golden"
ENDED = ("completed", "failed", "stopped")
RUNNERS = {
    "default": {"command": ["sleep", "600"]},
    # Prints JSON lines about its work, as `claude -p --output-format stream-json` does.
    "rust-specialist": {"command": [sys.executable, str(SCRIPTED_AGENT)], "output": "stream-json"},
}
# Contract, section 1.5.
DOCUMENTED: dict[str, Any] = {
    "agent_type": "python-specialist",
    "issue_id": "issue-123",
    "task": "Add JWT authentication to the API",
    "context_requirements": ["project_structure", "security_policies", "docs/*.md"],
    "environment": {"LOG_LEVEL": "debug", "EMPTY": ""},
    "priority": "high",
    "project_id": PROJECT,
}
BOTH = pytest.mark.parametrize("door", ["grpc", "rest"])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_repository(tmp_path_factory.mktemp("golden") / "repository")


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("golden")
    config = written(directory / "config.json", agents={"runners": RUNNERS})
    running = SidecarProcess(directory / "storage", repository, config=config)
    yield running
    assert running.stop() == ""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[SidecarProcess]:
    """One with room for a single agent."""
    directory = tmp_path_factory.mktemp("crowded")
    config = written(directory / "config.json", agents={"runners": RUNNERS, "max_concurrent": 1})
    running = SidecarProcess(directory / "storage", repository, config=config)
    yield running
    assert running.stop() == ""


class House:
    """A sidecar's doors, and its operator."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.doors = Doors(sidecar)
        self.operator = sidecar.operator
        self._spawned: list[str] = []

    def door(self, rpc: str, name: str) -> Door:
        """`grpc`, or the first of the HTTP lines."""
        return self.doors.grpc(rpc) if name == "grpc" else self.doors.rest(rpc)[0]

    def ask(self, rpc: str, /, **request: Any) -> Any:
        return self.doors.ask(rpc, self.operator, **request)

    def spawn(self, door: str = "grpc", **request: Any) -> dict[str, Any]:
        """An agent that sleeps, when nothing else is asked for; it is stopped at the end of the test."""
        wanted = {"agent_type": "go-specialist", "issue_id": "issue-1", "project_id": PROJECT} | request
        answer = self.door("SpawnAgent", door).call(wanted, self.operator)
        assert answer.status in ("OK", 201), answer
        body: dict[str, Any] = answer.body
        self._spawned.append(body["agent_id"])
        return body

    def scripted(self, *steps: dict[str, Any], **request: Any) -> dict[str, Any]:
        environment = {"AGENT_SCRIPT": json.dumps(steps)} | request.pop("environment", {})
        return self.spawn(command=scripted_command(), environment=environment, **request)

    def wait(self, agent_id: str, *statuses: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            agent: dict[str, Any] = self.ask("GetAgent", agent_id=agent_id)
            return agent if agent["status"] in (statuses or ENDED) else {}

        return until(look, f"{agent_id} to be {' or '.join(statuses or ENDED)}")

    def logs(self, agent_id: str) -> list[str]:
        parts = self.ask("StreamAgentLogs", agent_id=agent_id)
        return [line["text"] for part in parts for line in part["lines"]]

    def clean(self) -> None:
        for agent_id in self._spawned:
            self.ask("StopAgent", agent_id=agent_id, force=True)
        self._spawned.clear()


def _house(sidecar: SidecarProcess) -> Iterator[House]:
    made = House(sidecar)
    yield made
    made.clean()
    made.doors.close()


@pytest.fixture
def house(sidecar: SidecarProcess) -> Iterator[House]:
    yield from _house(sidecar)


@pytest.fixture
def full_house(crowded: SidecarProcess) -> Iterator[House]:
    yield from _house(crowded)


def same(answers: list[Answer]) -> Any:
    """The one body that every door gave."""
    assert all(answer.status in ("OK", 200, 201) for answer in answers), answers
    bodies = [answer.body for answer in answers]
    assert all(body == bodies[0] for body in bodies), bodies
    return bodies[0]


def refused(house: House, rpc: str, request: dict[str, Any], status: int, code: str) -> str:
    """Through every door the same error; its message."""
    messages = set()
    for door in house.doors.of(rpc):
        if not door.fits(request):
            continue
        answer = door.call(request, house.operator)
        assert (answer.status, answer.code) == (door.status(status), code), (door.name, answer)
        if door.name != "grpc":
            assert_shape(answer.body, shapes.ERROR)
        messages.add(answer.message)
    (message,) = messages
    return message


class TestSpawn:
    @BOTH
    def test_the_documented_request(self, house: House, door: str) -> None:
        spawned = house.spawn(door, **DOCUMENTED)
        assert_shape(spawned, agent_shapes.SPAWNED)
        assert spawned["spawned"] is True and spawned["context_injected"] is True
        assert spawned["status"] == "running" and spawned["queue_position"] == 0
        assert spawned["agent_id"].startswith("python-specialist-")
        assert spawned["webhook_url"] == f"/api/agents/{spawned['agent_id']}/status"
        agent = house.sidecar.request("GET", spawned["webhook_url"], house.operator).json()
        assert_shape(agent, agent_shapes.AGENT)
        for key in ("agent_type", "issue_id", "project_id", "task", "priority"):
            assert agent[key] == DOCUMENTED[key]
        assert agent["process_id"] == spawned["process_id"]
        assert (agent["spawned_by"], agent["depth"], agent["attempt"]) == ("operator", 0, 1)
        os.kill(spawned["process_id"], 0)

    def test_the_token_is_the_agents_own(self, house: House) -> None:
        spawned = house.spawn(issue_id="issue-token")
        claims = jwt.decode(spawned["jwt_token"], options={"verify_signature": False})
        assert (claims["sub"], claims["agent_type"]) == (spawned["agent_id"], "go-specialist")
        assert (claims["project_id"], claims["issue_id"]) == (PROJECT, "issue-token")
        assert claims["permissions"] == ["read_context", "write_results", "publish_events"]
        assert claims["exp"] - claims["iat"] == 3600

    def test_the_documented_environment(self, house: House) -> None:
        names = ["AGENT_ID", "AGENT_TYPE", "ISSUE_ID", "PROJECT_ID", "SIDECAR_URL", "GIVEN", "EMPTY"]
        # The heartbeat goes out with JWT_TOKEN; what is printed of that is masked.
        steps: list[dict[str, Any]] = [{"do": "env", "name": name} for name in names] + [{"do": "heartbeat"}]
        spawned = house.scripted(*steps, environment={"GIVEN": "ünïcode = 'x'", "EMPTY": ""}, issue_id="issue-env")
        assert house.wait(spawned["agent_id"])["exit_code"] == 0
        found = dict(line.split("=", 1) for line in house.logs(spawned["agent_id"]))
        assert found == {
            "AGENT_ID": spawned["agent_id"],
            "AGENT_TYPE": "go-specialist",
            "ISSUE_ID": "issue-env",
            "PROJECT_ID": PROJECT,
            "SIDECAR_URL": f"{house.sidecar.url}/api",
            "GIVEN": "ünïcode = 'x'",
            "EMPTY": "",
        }

    def test_only_a_type_and_an_issue_are_needed(self, house: House) -> None:
        for door in house.doors.of("SpawnAgent"):
            answer = door.call({"agent_type": "go-specialist", "issue_id": "issue-1"}, house.operator)
            assert_shape(answer.body, agent_shapes.SPAWNED)
            agent = house.ask("GetAgent", agent_id=answer.body["agent_id"])
            assert (agent["project_id"], agent["priority"], agent["task"]) == ("default", "normal", "")
            house.ask("StopAgent", agent_id=agent["agent_id"], force=True)

    def test_nulls_are_as_if_not_sent(self, house: House) -> None:
        optional = ("task", "context_requirements", "environment", "priority", "project_id", "timeout_seconds", "model")
        body = {"agent_type": "go-specialist", "issue_id": "issue-1"} | dict.fromkeys(optional)
        answer = house.sidecar.request("POST", "/api/agents/spawn", house.operator, json=body)
        assert answer.status_code == 201, answer.text
        house.ask("StopAgent", agent_id=answer.json()["agent_id"], force=True)

    def test_it_publishes_agent_spawned(self, house: House) -> None:
        spawned = house.spawn(issue_id=fresh("issue"))
        listed = house.ask("ListEvents", event_type="agent_spawned", project_id=PROJECT, since="0", limit=1000)
        (event,) = (e for e in listed["events"] if e["data"]["agent_id"] == spawned["agent_id"])
        assert_shape(event, shapes.EVENT)
        assert event["topic"] == "coordination"

    @BOTH
    def test_a_queued_one_has_neither_process_nor_token(self, full_house: House, door: str) -> None:
        first = full_house.spawn(door)
        second, third = full_house.spawn(door), full_house.spawn(door, priority="high")
        assert_shape(second, agent_shapes.SPAWNED)
        assert (second["spawned"], second["context_injected"], second["status"]) == (False, False, "pending")
        assert second["process_id"] is None and second["jwt_token"] is None
        assert second["queue_position"] == 1 and third["queue_position"] == 1
        agents = full_house.ask("ListAgents", project_id=PROJECT, status="pending")
        assert {a["agent_id"]: a["queue_position"] for a in agents["agents"]} == {
            third["agent_id"]: 1,
            second["agent_id"]: 2,
        }
        assert (agents["running"], agents["queued"], agents["max_concurrent"]) == (1, 2, 1)
        for agent in agents["agents"]:
            assert_shape(agent, agent_shapes.AGENT)
        full_house.ask("StopAgent", agent_id=first["agent_id"], force=True)
        assert full_house.wait(third["agent_id"], "running")["queue_position"] == 0

    def test_an_unknown_type(self, house: House) -> None:
        message = refused(house, "SpawnAgent", {"agent_type": "no-such-type", "issue_id": "i"}, 404, "AGT_002")
        assert "no-such-type" in message

    def test_a_program_that_is_not_there(self, house: House) -> None:
        request = {"agent_type": "go-specialist", "issue_id": "i", "command": ["no-such-program", "x"]}
        assert "no-such-program" in refused(house, "SpawnAgent", request, 400, "REQ_001")

    def test_a_program_that_cannot_be_run(self, house: House, tmp_path: Path) -> None:
        """Found on the PATH, and its interpreter is not there."""
        broken = tmp_path / "broken-agent"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        request = {
            "agent_type": "go-specialist",
            "issue_id": "i",
            "command": ["broken-agent"],
            "environment": {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        }
        assert "broken-agent" in refused(house, "SpawnAgent", request, 500, "AGT_001")

    def test_an_argument_that_no_program_can_be_given(self, house: House) -> None:
        """Linux gives a program at most 128 KiB in one argument or variable."""
        for field in ({"command": ["sleep", "1" * 200_000]}, {"environment": {"LONG": "x" * 200_000}}):
            for door in house.doors.of("SpawnAgent"):
                answer = door.call({"agent_type": "go-specialist", "issue_id": "i"} | field, house.operator)
                assert answer.code in ("AGT_001", "REQ_001"), (door.name, *field, answer.body)
                assert "long" in answer.message or "most" in answer.message, answer.message

    def test_the_longest_task(self, house: House) -> None:
        """What the proto allows runs, whatever its characters are."""
        for letter in ("x", "€"):
            spawned = house.scripted(issue_id="issue-long", task=letter * 100_000)
            assert house.wait(spawned["agent_id"])["reason"] == "it exited with 0"


class TestReads:
    def test_one_agent_by_all_its_paths(self, house: House) -> None:
        spawned = house.scripted({"do": "print", "text": "hello"}, {"do": "exit", "code": 3}, issue_id="issue-read")
        ended = house.wait(spawned["agent_id"])
        doors = house.doors.of("GetAgent")
        assert [door.name for door in doors[1:]] == ["GET /api/agents/{agent_id}", "GET /api/agents/{agent_id}/status"]
        agent = same([door.call({"agent_id": spawned["agent_id"]}, house.operator) for door in doors])
        assert agent == ended
        assert_shape(agent, agent_shapes.AGENT)
        assert (agent["status"], agent["exit_code"], agent["last_output"]) == ("failed", 3, ["hello"])
        assert "process_id" not in agent and "signal" not in agent and "retry_at" not in agent
        assert agent["peak_memory_bytes"] > 1_000_000 and agent["cpu_seconds"] > 0
        assert agent["created_at"] <= agent["started_at"] <= agent["ended_at"]

    def test_a_signal_is_named(self, house: House) -> None:
        spawned = house.scripted({"do": "kill", "signal": "SIGKILL"})
        ended = house.wait(spawned["agent_id"])
        assert_shape(ended, agent_shapes.AGENT)
        assert ended["signal"] == "SIGKILL" and "exit_code" not in ended

    def test_numbers_are_numbers(self, house: House) -> None:
        """Also those that protobuf's own JSON mapping would write as text."""
        report = {"do": "report", "result": "done", "cost": 0.25, "turns": 7, "input": 3_000_000_000, "output": 5}
        spawned = house.spawn(agent_type="rust-specialist", environment={"AGENT_SCRIPT": json.dumps([report])})
        house.wait(spawned["agent_id"])
        doors = house.doors.of("GetAgent")
        agent = same([door.call({"agent_id": spawned["agent_id"]}, house.operator) for door in doors])
        assert_shape(agent, agent_shapes.AGENT)
        usage = agent["usage"]
        assert (usage["turns"], usage["input_tokens"], usage["output_tokens"]) == (7, 3_000_000_000, 5)
        assert (usage["cost_usd"], usage["duration_ms"], usage["api_duration_ms"]) == (0.25, 1200, 800)
        assert "cache_creation_tokens" not in usage, "nothing is estimated"

    def test_a_list_in_pages(self, house: House) -> None:
        issue = fresh("issue")
        ids = [house.spawn(issue_id=issue)["agent_id"] for _ in range(5)]
        for door in house.doors.of("ListAgents"):
            listed: list[str] = []
            cursor = ""
            while True:
                request = {"issue_id": issue, "project_id": PROJECT, "limit": 2} | (
                    {"cursor": cursor} if cursor else {}
                )
                page = door.call(request, house.operator).body
                assert_shape(page, agent_shapes.AGENTS)
                assert len(page["agents"]) <= 2
                listed += [agent["agent_id"] for agent in page["agents"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert listed == ids[::-1], door.name

    def test_a_list_that_is_filtered(self, house: House) -> None:
        issue = fresh("issue")
        running = house.spawn(issue_id=issue)["agent_id"]
        stopped = house.spawn(issue_id=issue, agent_type="test-engineer")["agent_id"]
        house.ask("StopAgent", agent_id=stopped, force=True)
        for wanted, found in (
            ({}, [stopped, running]),
            ({"status": "running"}, [running]),
            ({"status": "stopped"}, [stopped]),
            ({"status": "stuck"}, []),
            ({"agent_type": "test-engineer"}, [stopped]),
            ({"agent_type": "test-engineer", "status": "running"}, []),
        ):
            request = {"issue_id": issue, "project_id": PROJECT} | wanted
            page = same([door.call(request, house.operator) for door in house.doors.of("ListAgents")])
            assert [agent["agent_id"] for agent in page["agents"]] == found, wanted
            assert page["next_cursor"] is None

    def test_the_limit_is_exact(self, house: House) -> None:
        """As many as there are is the last page."""
        issue = fresh("issue")
        for _ in range(2):
            house.spawn(issue_id=issue)
        page = house.ask("ListAgents", issue_id=issue, project_id=PROJECT, limit=2)
        assert len(page["agents"]) == 2 and page["next_cursor"] is None

    def test_there_is_none(self, house: House) -> None:
        for rpc in ("GetAgent", "StopAgent", "ResumeAgent", "StreamAgentLogs", "SendHeartbeat", "DiscardWorktree"):
            assert "nobody-7" in refused(house, rpc, {"agent_id": "nobody-7"}, 404, "AGT_004")

    def test_types(self, house: House) -> None:
        types = same([d.call({"group": "quality"}, house.operator) for d in house.doors.of("ListAgentTypes")])
        assert_shape(types, agent_shapes.AGENT_TYPES)
        assert {each["group"] for each in types["agent_types"]} == {"quality"}
        assert len(house.ask("ListAgentTypes")["agent_types"]) == 119

    def test_access(self, house: House) -> None:
        request = {"agent": "technical-writer", "rpc": "PublishEvent"}
        assert_shape(
            same([d.call(request, house.operator) for d in house.doors.of("CheckAccess")]), agent_shapes.ACCESS
        )


class TestStop:
    @BOTH
    @pytest.mark.parametrize("how", [{}, {"force": True}, {"timeout": 0.5}, {"timeout": 0}])
    def test_once_and_again(self, house: House, door: str, how: dict[str, Any]) -> None:
        request = {"agent_id": house.spawn()["agent_id"]} | how
        stopped = house.door("StopAgent", door).call(request, house.operator).body
        assert_shape(stopped, agent_shapes.STOPPED)
        assert (stopped["stopped"], stopped["status"]) == (True, "stopped")
        assert stopped["reason"] == "stopped by the operator"
        again = house.door("StopAgent", door).call(request, house.operator).body
        assert_shape(again, agent_shapes.STOPPED)
        assert (again["stopped"], again["status"]) == (False, "stopped")


class TestLogs:
    STEPS = (
        {"do": "print", "text": "one"},
        {"do": "print", "text": "two — ünïcode"},
        {"do": "print", "text": "three", "stream": "stderr"},
    )

    def test_ndjson_and_grpc_say_the_same(self, house: House) -> None:
        agent_id = house.scripted(*self.STEPS)["agent_id"]
        house.wait(agent_id)
        answer = house.sidecar.request("GET", f"/api/agents/{agent_id}/logs", house.operator)
        assert answer.headers["content-type"] == "application/x-ndjson"
        parts = same([door.call({"agent_id": agent_id}, house.operator) for door in house.doors.of("StreamAgentLogs")])
        for part in parts:
            assert_shape(part, agent_shapes.LOGS)
        lines = [line for part in parts for line in part["lines"]]
        assert [json.loads(line) for line in answer.text.splitlines()] == parts
        texts = sorted((line["stream"], line["text"]) for line in lines)
        assert texts == [("stderr", "three"), ("stdout", "one"), ("stdout", "two — ünïcode")]

    @pytest.mark.parametrize(("tail", "expected"), [(0, []), (1, ["four"]), (2, ["three", "four"]), (99, None)])
    def test_a_tail(self, house: House, tail: int, expected: list[str] | None) -> None:
        texts = ["one", "two", "three", "four"]
        agent_id = house.scripted(*({"do": "print", "text": text} for text in texts))["agent_id"]
        house.wait(agent_id)
        request = {"agent_id": agent_id, "tail": tail}
        parts = same([door.call(request, house.operator) for door in house.doors.of("StreamAgentLogs")])
        found = [line["text"] for part in parts for line in part["lines"]]
        assert found == (texts if expected is None else expected)

    def test_each_attempt_has_its_own(self, house: House) -> None:
        agent_id = house.scripted({"do": "env", "name": "AGENT_ATTEMPT"})["agent_id"]
        house.wait(agent_id)
        house.ask("ResumeAgent", agent_id=agent_id)
        until(lambda: house.ask("GetAgent", agent_id=agent_id)["status"] == "completed", "its second attempt")
        for wanted, said in (({}, "2"), ({"attempt": 1}, "1"), ({"attempt": 2}, "2")):
            request = {"agent_id": agent_id} | wanted
            for door in house.doors.of("StreamAgentLogs"):
                parts = door.call(request, house.operator).body
                assert [line["text"] for part in parts for line in part["lines"]] == [f"AGENT_ATTEMPT={said}"]
        refused(house, "StreamAgentLogs", {"agent_id": agent_id, "attempt": 3}, 404, "AGT_009")

    def test_following_ends_with_the_agent(self, house: House, tmp_path: Path) -> None:
        gate = tmp_path / "go"
        steps = [{"do": "print", "text": "first"}, {"do": "until", "path": str(gate)}, {"do": "print", "text": "last"}]
        agent_id = house.scripted(*steps)["agent_id"]
        url = f"/api/agents/{agent_id}/logs?follow=true"
        with house.sidecar.request("GET", url, house.operator, stream=True) as answer:
            parts = (json.loads(line) for line in answer.iter_lines())
            assert [line["text"] for line in next(parts)["lines"]] == ["first"]
            gate.touch()
            assert [line["text"] for part in parts for line in part["lines"]] == ["last"]

    def test_server_sent_events_for_those_who_ask(self, house: House) -> None:
        agent_id = house.scripted({"do": "print", "text": "hello"})["agent_id"]
        house.wait(agent_id)
        sse = {"Accept": "text/event-stream"}
        answer = house.sidecar.request("GET", f"/api/agents/{agent_id}/logs", house.operator, headers=sse)
        assert answer.headers["content-type"] == "text/event-stream"
        frame = answer.content.decode().split("\n\n")[0]
        assert_shape(json.loads(frame.removeprefix("data: ")), agent_shapes.LOGS)


class TestHeartbeat:
    @BOTH
    def test_progress_is_kept(self, house: House, door: str) -> None:
        spawned = house.spawn()
        own = Agent(spawned["agent_id"], "go-specialist", "issue-1", PROJECT, spawned["jwt_token"])
        said = {"agent_id": own.id, "percent": 40, "message": "tests written", "needs_input": False}
        answer = house.door("SendHeartbeat", door).call(said, own)
        assert_shape(answer.body, agent_shapes.HEARTBEAT)
        assert answer.body["status"] == "running"
        agent = house.ask("GetAgent", agent_id=own.id)
        assert_shape(agent, agent_shapes.AGENT)
        assert (agent["progress"]["percent"], agent["progress"]["message"]) == (40, "tests written")

    @BOTH
    def test_it_waits_for_a_person_and_goes_on(self, house: House, door: str) -> None:
        spawned = house.spawn()
        own = Agent(spawned["agent_id"], "go-specialist", "issue-1", PROJECT, spawned["jwt_token"])
        send = house.door("SendHeartbeat", door)
        waiting = send.call({"agent_id": own.id, "message": "which port?", "needs_input": True}, own)
        assert waiting.body["status"] == "needs_input"
        assert house.ask("GetAgent", agent_id=own.id)["reason"] == "which port?"
        assert send.call({"agent_id": own.id}, own).body["status"] == "running"

    def test_of_one_that_has_ended(self, house: House) -> None:
        agent_id = house.spawn()["agent_id"]
        house.ask("StopAgent", agent_id=agent_id, force=True)
        assert "stopped by the operator" in refused(house, "SendHeartbeat", {"agent_id": agent_id}, 409, "AGT_005")


class TestResume:
    @BOTH
    def test_an_ended_agent_starts_again_under_its_id(self, house: House, door: str) -> None:
        agent_id = house.spawn()["agent_id"]
        house.ask("StopAgent", agent_id=agent_id, force=True)
        request = {"agent_id": agent_id, "message": "go on"}
        agent = house.door("ResumeAgent", door).call(request, house.operator).body
        assert_shape(agent, agent_shapes.AGENT)
        assert (agent["agent_id"], agent["attempt"], agent["status"]) == (agent_id, 2, "running")
        assert "ended_at" not in agent and "exit_code" not in agent and agent["process_id"] > 0

    def test_one_that_runs(self, house: House) -> None:
        refused(house, "ResumeAgent", {"agent_id": house.spawn()["agent_id"]}, 409, "AGT_005")


class TestTheEnd:
    """What is said to have ended has ended: nothing that follows finds it half-way."""

    TIMES = 10

    def ended(self, house: House) -> str:
        agent_id: str = house.spawn(command=["true"])["agent_id"]
        house.wait(agent_id, "completed")
        return agent_id

    def test_stopping_it_does_not_change_how_it_ended(self, house: House) -> None:
        for _ in range(self.TIMES):
            agent_id = self.ended(house)
            stopped = house.ask("StopAgent", agent_id=agent_id, force=True)
            assert (stopped["stopped"], stopped["status"]) == (False, "completed")
            assert house.ask("GetAgent", agent_id=agent_id)["status"] == "completed"

    def test_it_can_be_resumed(self, house: House) -> None:
        for _ in range(self.TIMES):
            answer = house.doors.grpc("ResumeAgent").call({"agent_id": self.ended(house)}, house.operator)
            assert answer.status == "OK", answer


class TestWorktree:
    ACT = "git -c user.name=T -c user.email=t@example.com commit -qm W --allow-empty; exec sleep 600"

    @BOTH
    def test_it_is_thrown_away_with_its_branch(self, house: House, repository: Path, door: str) -> None:
        agent_id = house.spawn(isolation="worktree", command=["sh", "-c", self.ACT])["agent_id"]
        agent = house.ask("GetAgent", agent_id=agent_id)
        assert (agent["isolation"], agent["branch"]) == ("worktree", f"agent/{agent_id}")
        until(lambda: git(Path(agent["worktree"]), "log", "-1", "--format=%s").strip() == "W", "its commit")
        refused(house, "DiscardWorktree", {"agent_id": agent_id}, 409, "AGT_005")
        house.ask("StopAgent", agent_id=agent_id, force=True)
        discarded = house.door("DiscardWorktree", door).call({"agent_id": agent_id}, house.operator).body
        assert_shape(discarded, agent_shapes.DISCARDED)
        assert (discarded["discarded"], discarded["branch"]) == (True, agent["branch"])
        assert not Path(agent["worktree"]).exists()
        assert agent["branch"] not in git(repository, "branch", "--list", "agent/*")
        refused(house, "DiscardWorktree", {"agent_id": agent_id}, 404, "AGT_006")

    def test_it_is_there_every_time(self, house: House) -> None:
        """git runs below a process with many threads: none of its runs may die of that."""
        for _ in range(10):
            agent = house.wait(house.spawn(isolation="worktree", command=["true"])["agent_id"])
            assert (agent["status"], agent["branch"]) == ("completed", f"agent/{agent['agent_id']}")

    def test_of_one_that_had_none(self, house: House) -> None:
        agent_id = house.spawn()["agent_id"]
        house.ask("StopAgent", agent_id=agent_id, force=True)
        refused(house, "DiscardWorktree", {"agent_id": agent_id}, 404, "AGT_006")


class TestApprovals:
    @BOTH
    def test_a_question_and_its_answer(self, house: House, door: str) -> None:
        data = {"cost": 12.5, "files": ["a.py"], "nested": {"deep": None}}
        request = {"question": "Deploy to production?", "issue_id": "issue-1", "project_id": PROJECT, "data": data}
        asked = house.door("RequestApproval", door).call(request, house.operator).body
        assert_shape(asked, agent_shapes.APPROVAL)
        assert (asked["status"], asked["question"], asked["data"]) == ("pending", request["question"], data)
        assert "answered_at" not in asked and asked["comment"] == ""
        named = {"approval_id": asked["approval_id"]}
        assert same([d.call(named, house.operator) for d in house.doors.of("GetApproval")]) == asked
        answer = named | {"approved": door == "grpc", "comment": "not before Monday"}
        answered = house.door("AnswerApproval", door).call(answer, house.operator).body
        assert_shape(answered, agent_shapes.APPROVAL)
        assert answered["status"] == ("approved" if door == "grpc" else "denied")
        assert answered["comment"] == "not before Monday" and answered["answered_at"] >= answered["created_at"]
        for approved in (True, False):
            refused(house, "AnswerApproval", named | {"approved": approved}, 409, "APR_002")
        assert house.ask("GetApproval", **named) == answered

    def test_both_are_events(self, house: House) -> None:
        asked = house.ask("RequestApproval", question="May it?", issue_id="issue-1", project_id=PROJECT)
        house.ask("AnswerApproval", approval_id=asked["approval_id"], approved=True, comment="yes")
        listed = house.ask("ListEvents", correlation_id=asked["approval_id"], project_id=PROJECT, since="0")
        for event in listed["events"]:
            assert_shape(event, shapes.EVENT)
        found = [(e["event_type"], e["data"]["status"], e["data"]["comment"]) for e in listed["events"]]
        assert found == [("approval_requested", "pending", ""), ("approval_answered", "approved", "yes")]

    def test_a_list_in_pages_and_filtered(self, house: House) -> None:
        project = fresh("project")
        ids = [house.ask("RequestApproval", question=str(n), project_id=project)["approval_id"] for n in range(3)]
        house.ask("AnswerApproval", approval_id=ids[1], approved=False)
        for door in house.doors.of("ListApprovals"):
            listed: list[str] = []
            cursor = ""
            while cursor is not None:
                request = {"project_id": project, "limit": 2} | ({"cursor": cursor} if cursor else {})
                page = door.call(request, house.operator).body
                assert_shape(page, agent_shapes.APPROVALS)
                listed += [each["approval_id"] for each in page["approvals"]]
                cursor = page["next_cursor"]
            assert listed == ids[::-1], door.name
            for status, found in (("pending", [ids[2], ids[0]]), ("denied", [ids[1]]), ("approved", [])):
                page = door.call({"project_id": project, "status": status}, house.operator).body
                assert [each["approval_id"] for each in page["approvals"]] == found

    def test_an_agent_asks_for_itself(self, house: House) -> None:
        agent = house.sidecar.agent(project=PROJECT)
        for door in house.doors.of("RequestApproval"):
            asked = door.call({"question": "May I?"}, agent).body
            assert (asked["requested_by"], asked["issue_id"]) == (agent.id, agent.issue)
            assert asked["project_id"] == PROJECT

    def test_there_is_none(self, house: House) -> None:
        refused(house, "GetApproval", {"approval_id": "apr-0"}, 404, "APR_001")
        refused(house, "AnswerApproval", {"approval_id": "apr-0", "approved": True}, 404, "APR_001")


class TestCredentials:
    @BOTH
    def test_stored_read_listed_deleted(self, house: House, door: str) -> None:
        name, value = f"KEY_{door.upper()}", "geheim ✓ 'quoted'\nsecond line"
        stored = house.door("StoreCredential", door).call({"name": name, "value": value}, house.operator)
        assert_shape(stored.body, agent_shapes.CREDENTIAL)
        assert stored.body["name"] == name
        got = same([d.call({"name": name}, house.operator) for d in house.doors.of("GetCredential")])
        assert_shape(got, agent_shapes.CREDENTIAL_VALUE)
        assert got["value"] == value
        again = house.door("StoreCredential", door).call({"name": name, "value": "new"}, house.operator).body
        assert again["created_at"] == stored.body["created_at"] and again["updated_at"] > stored.body["updated_at"]
        listed = same([d.call({}, house.operator) for d in house.doors.of("ListCredentials")])
        assert_shape(listed, agent_shapes.CREDENTIALS)
        assert name in [each["name"] for each in listed["credentials"]] and "new" not in json.dumps(listed)
        deleted = house.door("DeleteCredential", door).call({"name": name}, house.operator).body
        assert_shape(deleted, agent_shapes.DELETED)
        assert deleted == {"deleted": True, "name": name}
        for rpc in ("GetCredential", "DeleteCredential"):
            assert name in refused(house, rpc, {"name": name}, 404, "CRD_001")

    def test_one_that_is_not_there_stops_a_spawn(self, house: House) -> None:
        request = {"agent_type": "go-specialist", "issue_id": fresh("issue"), "credentials": ["NO_SUCH_KEY"]}
        assert "NO_SUCH_KEY" in refused(house, "SpawnAgent", request, 404, "CRD_001")
        assert house.ask("ListAgents", issue_id=request["issue_id"])["agents"] == [], "refused, and kept all the same"

    @pytest.mark.parametrize(
        ("body", "secret"),
        [
            ({"value": 31337000001}, "31337000001"),
            ({"value": ["31337000002"]}, "31337000002"),
            ({"valeu": "31337000003"}, "31337000003"),
            ({"name": "OTHER", "value": "31337000004"}, "31337000004"),
            ({"value": "31337000005\0"}, "31337000005"),
        ],
    )
    def test_an_error_never_shows_the_value(self, house: House, body: dict[str, Any], secret: str) -> None:
        answer = house.sidecar.request("PUT", "/api/credentials/PIN", house.operator, json=body)
        assert answer.status_code == 400
        assert secret not in answer.text
        assert secret not in (house.sidecar.storage / "logs" / "orchestration.log").read_text()


class TestTokens:
    @BOTH
    def test_made_and_revoked(self, house: House, door: str) -> None:
        request = {"agent_type": "go-specialist", "issue_id": "issue-1", "project_id": PROJECT}
        made = house.door("CreateToken", door).call(request, house.operator).body
        assert_shape(made, agent_shapes.TOKEN)
        agent = Agent(made["agent_id"], "go-specialist", "issue-1", PROJECT, made["jwt_token"])
        assert house.door("ListEvents", door).call({}, agent).status in ("OK", 200)
        jti = jwt.decode(agent.token, options={"verify_signature": False})["jti"]
        revoked = house.door("RevokeToken", door).call({"jti": jti, "agent_id": agent.id}, house.operator).body
        assert_shape(revoked, agent_shapes.REVOKED)
        assert revoked["revoked"] == 2
        assert house.door("ListEvents", door).call({}, agent).code == "AUTH_001"


# -- the description --------------------------------------------------------------------------------


def test_the_openapi_document_has_every_http_line(house: House) -> None:
    paths = house.sidecar.request("GET", "/openapi.json").json()["paths"]
    wanted = {(line.verb.lower(), line.template) for rpc in METHODS for line in bindings_of(rpc)}
    missing = sorted(wanted - {(verb, path) for path, verbs in paths.items() for verb in verbs})
    assert not missing


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("post", "/api/agents/{agent_id}/heartbeat"),
        ("post", "/api/agents/{agent_id}/resume"),
        ("delete", "/api/agents/{agent_id}/worktree"),
        ("post", "/api/approvals/{approval_id}/answer"),
    ],
)
def test_the_openapi_document_knows_of_conflicts(house: House, verb: str, path: str) -> None:
    paths = house.sidecar.request("GET", "/openapi.json").json()["paths"]
    assert "409" in paths[path][verb]["responses"]


# -- bad input ----------------------------------------------------------------------------------------


SPAWN = {"agent_type": "go-specialist", "issue_id": "issue-bad"}
LONG_ID = "x" * 129
NAMES: list[tuple[Any, str]] = [
    (7, "expected a string"),
    (["x"], "expected a string"),
    ("a b", "is not a name"),
    ("../x", "is not a name"),
    (".x", "is not a name"),
    ("a/b", "is not a name"),
    ("a\0b", "is not a name"),
    ("é", "is not a name"),
    (LONG_ID, "is not a name"),
]
BAD_SPAWNS: list[tuple[str, Any, str]] = [
    *(("agent_type", value, says) for value, says in NAMES),
    ("agent_type", "", "agent_type is required"),
    ("agent_type", None, "agent_type is required"),
    *(("issue_id", value, says) for value, says in NAMES),
    ("issue_id", "", "issue_id is required"),
    *(("project_id", value, says) for value, says in NAMES),
    ("task", 7, "expected a string"),
    ("task", {"text": "x"}, "expected a string"),
    ("task", "x" * 100_001, "the most is 100000"),
    ("task", "a\0b", "NUL"),
    ("context_requirements", "docs/*.md", "expected an array"),
    ("context_requirements", [7], "context_requirements[0]: expected a string"),
    ("context_requirements", ["docs/*.md"] * 101, "the most is 100"),
    ("context_requirements", ["all_of_it"], "neither a pattern"),
    ("context_requirements", [""], "neither a pattern"),
    ("context_requirements", ["a\0b"], "NUL"),
    ("context_requirements", ["docs/\0*.md"], "NUL"),
    ("environment", [], "expected an object"),
    ("environment", "A=b", "expected an object"),
    ("environment", {"A": 7}, "environment.A: expected a string"),
    ("environment", {"A": None}, "environment.A"),
    ("environment", {f"A{n}": "x" for n in range(1001)}, "the most is 1000"),
    ("environment", {"": "x"}, "cannot be set"),
    ("environment", {"A=B": "x"}, "cannot be set"),
    ("environment", {"A\0": "x"}, "cannot be set"),
    ("environment", {"A": "x\0y"}, "cannot be set"),
    *(
        ("environment", {name: "x"}, "is set by the sidecar")
        for name in (
            *("AGENT_ID", "AGENT_TYPE", "ISSUE_ID", "PROJECT_ID", "SIDECAR_URL", "SIDECAR_GRPC", "JWT_TOKEN"),
            *("JWT_TOKEN_FILE", "CONTEXT_FILE", "AGENT_TASK", "AGENT_ATTEMPT", "CCO_SIDECAR_JWT_SECRET"),
        )
    ),
    ("priority", "urgent", "is not one of: low, normal, high"),
    ("priority", "High", "is not one of: low, normal, high"),
    ("priority", "", "is not one of: low, normal, high"),
    ("priority", 3, "is not one of: low, normal, high"),
    ("priority", "unspecified", "is not one of: low, normal, high"),
    ("command", "sleep 5", "expected an array"),
    ("command", [7], "command[0]: expected a string"),
    ("command", [""], "a program is needed"),
    ("command", ["", "x"], "a program is needed"),
    ("command", ["sleep", "5\0"], "NUL"),
    ("command", ["sleep"] * 1001, "the most is 1000"),
    ("isolation", "docker", "is not one of: none, worktree"),
    ("isolation", True, "is not one of: none, worktree"),
    ("credentials", "KEY", "expected an array"),
    ("credentials", [7], "credentials[0]: expected a string"),
    ("credentials", ["KEY"] * 101, "the most is 100"),
    ("timeout_seconds", -1, "is not between 0 and"),
    ("timeout_seconds", 2_592_001, "is not between 0 and"),
    ("timeout_seconds", 2**31, "is not between"),
    ("timeout_seconds", 1.5, "expected an integer"),
    ("timeout_seconds", "60", "expected an integer"),
    ("timeout_seconds", True, "expected an integer"),
    ("model", 7, "expected a string"),
    ("model", "x" * 257, "the most is 256"),
    ("model", "a\0b", "NUL"),
    ("agent", "go-specialist", "did you mean 'agent_type'?"),
    ("retries", 3, "has no field 'retries'"),
    ("agent_id", "chosen", "has no field 'agent_id'"),
]


def shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 40 else f"{text[:20]}...{len(text)}"


@pytest.mark.parametrize(
    ("field", "value", "says"), BAD_SPAWNS, ids=[f"{field}={shown(value)}" for field, value, _ in BAD_SPAWNS]
)
def test_a_bad_spawn_is_refused_with_its_field(house: House, field: str, value: Any, says: str) -> None:
    before = house.ask("ListAgents", limit=1)["agents"]
    answer = house.sidecar.request("POST", "/api/agents/spawn", house.operator, json=SPAWN | {field: value})
    if answer.status_code == 201:
        house.ask("StopAgent", agent_id=answer.json()["agent_id"], force=True)
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert_shape(error, shapes.ERROR)
    assert error["code"] == "REQ_001" and says in error["message"], error["message"]
    assert str(error["details"]["field"]).startswith(field)
    assert len(error["message"]) <= 500
    assert house.ask("ListAgents", limit=1)["agents"] == before


def message(message_type: Any, **fields: Any) -> Any:
    return message_type(**fields)


def spawn_message(**fields: Any) -> Any:
    return message(agent_service_pb2.SpawnAgentRequest, **SPAWN, **fields)


# What only a message can hold, or what both doors carry: the same refusal.
MESSAGES: list[tuple[str, Any, str]] = [
    ("SpawnAgent", agent_service_pb2.SpawnAgentRequest(), "agent_type is required"),
    ("SpawnAgent", spawn_message(priority=99), "priority: 99 is no known value"),
    ("SpawnAgent", spawn_message(isolation=-1), "isolation: -1 is no known value"),
    ("SpawnAgent", spawn_message(timeout_seconds=-1), "is not between 0 and"),
    ("SpawnAgent", spawn_message(task="x" * 100_001), "the most is 100000"),
    ("SpawnAgent", spawn_message(task="a\0b"), "NUL"),
    ("SpawnAgent", spawn_message(environment={"A": "\0"}), "cannot be set"),
    (
        "SpawnAgent",
        spawn_message(environment={f"A{n}": "" for n in range(1001)}),
        "the most is 1000",
    ),
    ("ListAgents", message(agent_service_pb2.ListAgentsRequest, status=77), "status: 77 is no known value"),
    ("ListAgents", agent_service_pb2.ListAgentsRequest(limit=0), "limit: 0 is not between 1 and 1000"),
    ("ListAgents", agent_service_pb2.ListAgentsRequest(cursor="rubbish"), "is not a next_cursor"),
    ("StopAgent", agent_service_pb2.StopAgentRequest(agent_id="x", timeout=-0.5), "timeout: -0.5 is not between"),
    ("StopAgent", agent_service_pb2.StopAgentRequest(agent_id="x", timeout=float("nan")), "timeout"),
    ("StopAgent", agent_service_pb2.StopAgentRequest(agent_id="x", timeout=float("inf")), "timeout"),
    ("StopAgent", agent_service_pb2.StopAgentRequest(), "agent_id is required"),
    ("SendHeartbeat", agent_service_pb2.SendHeartbeatRequest(agent_id="x", percent=float("nan")), "percent"),
    ("SendHeartbeat", agent_service_pb2.SendHeartbeatRequest(agent_id="x", percent=100.5), "percent"),
    ("StreamAgentLogs", agent_service_pb2.StreamAgentLogsRequest(agent_id="x", tail=-1), "tail: -1 is not between"),
    ("StreamAgentLogs", agent_service_pb2.StreamAgentLogsRequest(agent_id="x", attempt=0), "attempt: 0 is not"),
    ("RequestApproval", approval_service_pb2.RequestApprovalRequest(), "question is required"),
    ("ListApprovals", message(approval_service_pb2.ListApprovalsRequest, status=9), "status: 9 is no known value"),
    ("ListApprovals", approval_service_pb2.ListApprovalsRequest(cursor="-1"), "is not a next_cursor"),
]


@pytest.mark.parametrize(
    ("rpc", "sent", "says"), MESSAGES, ids=[f"{rpc}-{says[:30]}-{n}" for n, (rpc, _, says) in enumerate(MESSAGES)]
)
def test_a_bad_message_is_refused(house: House, rpc: str, sent: Any, says: str) -> None:
    answer = house.doors.grpc(rpc).send(sent, house.operator)
    if answer.status == "OK" and rpc == "SpawnAgent":
        house.ask("StopAgent", agent_id=answer.body["agent_id"], force=True)
    assert (answer.status, answer.code) == ("INVALID_ARGUMENT", "REQ_001"), answer
    assert says in answer.message


BAD_CALLS: list[tuple[str, str, Any, str]] = [
    # Names in paths.
    *(
        (verb, f"/api/agents/{name}{tail}", None, "is not a name")
        for name in ("a%20b", "%00", "..%2fx", LONG_ID)
        for verb, tail in (("GET", ""), ("GET", "/status"), ("DELETE", ""), ("GET", "/logs"), ("DELETE", "/worktree"))
    ),
    ("GET", "/api/agents/%ff", None, "UTF-8"),
    # Lists.
    *(("GET", f"/api/agents?{query}", None, says) for query, says in (
        ("status=done", "status: \"done\" is not one of: pending, running"),
        ("status=", "is not one of: pending, running"),
        ("status=7", "is not one of: pending, running"),
        ("limit=0", "is not between 1 and 1000"),
        ("limit=1001", "is not between 1 and 1000"),
        ("limit=-1", "is not between 1 and 1000"),
        ("limit=ten", "is not a number"),
        ("limit=1.5", "expected an integer"),
        ("limit=99999999999999999999", "is not a number"),
        ("limit=1&limit=2", "given twice"),
        ("cursor=rubbish", "is not a next_cursor"),
        ("cursor=-1", "is not a next_cursor"),
        ("cursor=1.5", "is not a next_cursor"),
        ("cursor=%00", "is not a next_cursor"),
        ("cursor=%D9%A3", "is not a next_cursor"),
        ("cursor=" + "9" * 19, "is not a next_cursor"),
        ("cursor=" + "9" * 129, "the most is 128"),
        (f"agent_type={LONG_ID}", "the most is 128"),
        (f"issue_id={LONG_ID}", "the most is 128"),
        ("project_id=a%20b", "is not a name"),
        ("lmit=1", "did you mean 'limit'?"),
        ("status=running&state=x", "has no field 'state'"),
        ("issue_id=%ff", "percent-encode"),
    )),
    # Ending and starting again.
    ("DELETE", "/api/agents/x?force=maybe", None, "is not true or false"),
    ("DELETE", "/api/agents/x?timeout=-1", None, "is not between 0 and 3600"),
    ("DELETE", "/api/agents/x?timeout=3601", None, "is not between 0 and 3600"),
    ("DELETE", "/api/agents/x?timeout=nan", None, "is not a number"),
    ("DELETE", "/api/agents/x?timeout=1e999", None, "is not a number"),
    ("DELETE", "/api/agents/x?timeout=ten", None, "is not a number"),
    ("POST", "/api/agents/x/resume", {"message": 7}, "expected a string"),
    ("POST", "/api/agents/x/resume", {"message": "x" * 100_001}, "the most is 100000"),
    ("POST", "/api/agents/x/resume", {"task": "x"}, "has no field 'task'"),
    ("POST", "/api/agents/x/resume", {"agent_id": "y"}, "the path says"),
    # Logs.
    ("GET", "/api/agents/x/logs?tail=-1", None, "is not between 0 and"),
    ("GET", "/api/agents/x/logs?tail=1000001", None, "is not between 0 and"),
    ("GET", "/api/agents/x/logs?attempt=0", None, "is not between 1 and"),
    ("GET", "/api/agents/x/logs?attempt=last", None, "is not a number"),
    ("GET", "/api/agents/x/logs?follow=", None, "is not true or false"),
    ("GET", "/api/agents/x/logs?follow=perhaps", None, "is not true or false"),
    ("GET", "/api/agents/x/logs?lines=5", None, "has no field 'lines'"),
    # Heartbeats.
    ("POST", "/api/agents/x/heartbeat", {"percent": -1}, "is not between 0 and 100"),
    ("POST", "/api/agents/x/heartbeat", {"percent": 100.1}, "is not between 0 and 100"),
    ("POST", "/api/agents/x/heartbeat", {"percent": "40"}, "expected a number"),
    ("POST", "/api/agents/x/heartbeat", {"message": "x" * 2001}, "the most is 2000"),
    ("POST", "/api/agents/x/heartbeat", {"needs_input": "yes"}, "expected true or false"),
    ("POST", "/api/agents/x/heartbeat", {"progress": 40}, "has no field 'progress'"),
    # Approvals.
    ("POST", "/api/approvals", {}, "question is required"),
    ("POST", "/api/approvals", {"question": ""}, "question is required"),
    ("POST", "/api/approvals", {"question": 7}, "expected a string"),
    ("POST", "/api/approvals", {"question": "x" * 10_001}, "the most is 10000"),
    ("POST", "/api/approvals", {"question": "x", "data": []}, "expected an object"),
    ("POST", "/api/approvals", {"question": "x", "data": {"n": 2**60}}, "2^53"),
    ("POST", "/api/approvals", {"question": "x", "issue_id": "a b"}, "is not a name"),
    ("POST", "/api/approvals", {"question": "x", "project_id": "a b"}, "is not a name"),
    ("POST", "/api/approvals", {"question": "x", "status": "approved"}, "has no field 'status'"),
    ("GET", "/api/approvals?status=open", None, "is not one of: pending, approved, denied"),
    ("GET", "/api/approvals?cursor=rubbish", None, "is not a next_cursor"),
    ("GET", "/api/approvals?limit=0", None, "is not between 1 and 1000"),
    ("GET", f"/api/approvals?issue_id={LONG_ID}", None, "the most is 128"),
    ("GET", "/api/approvals/a%20b", None, "is not a name"),
    ("POST", "/api/approvals/x/answer", {"approved": "yes"}, "expected true or false"),
    ("POST", "/api/approvals/x/answer", {"approved": True, "comment": "x" * 10_001}, "the most is 10000"),
    ("POST", "/api/approvals/a%20b/answer", {"approved": True}, "is not a name"),
    # Credentials.
    *(
        ("PUT", f"/api/credentials/{name}", {"value": "x"}, "no name of an environment variable")
        for name in ("1KEY", "A-B", "A%20B", "A%00", "%C3%84", "A%0A")
    ),
    ("PUT", "/api/credentials/" + "A" * 129, {"value": "x"}, "the most is 128"),
    ("PUT", "/api/credentials/KEY", {}, "value is required"),
    ("PUT", "/api/credentials/KEY", {"value": ""}, "value is required"),
    ("PUT", "/api/credentials/KEY", {"value": "x" * 65_537}, "the most is 65536"),
    ("PUT", "/api/credentials/KEY", {"value": "a\0b"}, "NUL"),
    ("PUT", "/api/credentials/KEY", {"name": "OTHER", "value": "x"}, "the path says"),
    ("GET", "/api/credentials/" + "A" * 129, None, "the most is 128"),
    # Access and tokens.
    ("GET", "/api/access", None, "agent is required"),
    ("GET", "/api/access?agent=go-specialist", None, "rpc is required"),
    ("GET", f"/api/access?rpc=GetAgent&agent={LONG_ID}", None, "the most is 128"),
    ("GET", "/api/access?agent=go-specialist&rpc=" + "x" * 257, None, "the most is 256"),
    ("GET", "/api/access?agent=go-specialist&rpc=GetAgents", None, "did you mean 'GetAgent'?"),
    ("POST", "/api/tokens", {"agent_type": "go-specialist", "issue_id": "i", "ttl_seconds": 0}, "is not between"),
    ("POST", "/api/tokens", {"agent_type": "go-specialist", "issue_id": "i", "agent_id": "a b"}, "is not a name"),
    ("GET", f"/api/agent-types?group={LONG_ID}", None, "the most is 128"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "path", "body", "says"),
    BAD_CALLS,
    ids=[f"{verb} {path[:60]} {shown(body) if body is not None else ''}".strip() for verb, path, body, _ in BAD_CALLS],
)
def test_a_bad_call_is_refused_with_a_clear_word(house: House, verb: str, path: str, body: Any, says: str) -> None:
    answer = house.sidecar.request(verb, path, house.operator, json=body)
    assert answer.status_code == 400, (answer.status_code, answer.text)
    error = answer.json()
    assert_shape(error, shapes.ERROR)
    assert error["code"] == "REQ_001" and says in error["message"], error["message"]


def test_an_answer_must_say_yes_or_no(house: House) -> None:
    """A forgotten `approved` is no denial."""
    asked = house.ask("RequestApproval", question="May it?", project_id=PROJECT)
    path = f"/api/approvals/{asked['approval_id']}/answer"
    answer = house.sidecar.request("POST", path, house.operator, json={"comment": "hm"})
    assert answer.status_code == 400, answer.text
    assert house.ask("GetApproval", approval_id=asked["approval_id"])["status"] == "pending"


def test_a_resumed_agents_message_holds_no_nul(house: House) -> None:
    agent_id = house.spawn()["agent_id"]
    house.ask("StopAgent", agent_id=agent_id, force=True)
    answer = house.sidecar.request("POST", f"/api/agents/{agent_id}/resume", house.operator, json={"message": "a\0b"})
    assert answer.status_code == 400, answer.text


def test_reserved_names_are_nobodys(house: House) -> None:
    """A token in the name of the operator, of the rules or of the sidecar itself would be believed by them."""
    for name in ("operator", "handover", "orchestration-sidecar"):
        answer = house.doors.grpc("CreateToken").call(SPAWN | {"agent_id": name}, house.operator)
        assert answer.status == "INVALID_ARGUMENT", name
