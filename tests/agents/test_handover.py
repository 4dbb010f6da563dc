"""Hand-over rules: what they answer, what holds them back, and that nothing is answered twice."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tests.support.repositories import OURS
from tests.support.sidecars import (
    House,
    agents,
    call,
    events,
    fresh,
    publish,
    publish_all,
    refused,
    small_repository,
    start_refused,
    until,
    written,
)

from cco_sidecar.agents.budget import Budget
from cco_sidecar.agents.rules import Plan
from cco_sidecar.client.connection import error_of
from cco_sidecar.compose import load_agent_types
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import load
from cco_sidecar.testing.agents import SpawnedAgent, scripted_command, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import agent_service_pb2, event_service_pb2, event_service_pb2_grpc

TYPES = load_agent_types(OURS)
SUCCESS = {"do": "result", "status": "success"}
FAILURE = {"do": "exit", "code": 3}
LIMITS = {"depth": 2, "agents": 4, "tokens": 1000, "cost_usd": 1.0}
# Of a rule: it says in an event that it has read so far.
MARK = {"name": "mark", "when": {"event_type": "mark"}, "do": "notify", "message": "{text}"}
RULES: list[dict[str, Any]] = [
    {
        "name": "code-after-design",
        "when": {"event_type": "design_ready"},
        "do": "spawn",
        "agent_type": "python-specialist",
        "priority": "high",
        "task": "Build {data.part.name} of {issue_id} for {publisher} after {event_type}, {times} times; {unknown} {} stay",
    },
    {
        "name": "tests-after-code",
        "when": {"result": {"types": ["python-pro"], "status": ["success"], "touches": ["src/"]}},
        "do": "spawn",
        "agent_type": "test-engineer",
        "task": "Test what {agent_id} made for {issue_id}",
    },
    {
        "name": "suggested",
        "when": {"event_type": "agent_completed", "filter": "agent_type:typescript-pro"},
        "do": "spawn",
        "agent_type": "next_agents",
    },
    {
        "name": "again",
        "when": {"event_type": "agent_failed", "filter": "agent_type:go-specialist"},
        "do": "retry",
        "attempts": 3,
    },
    {
        "name": "tell",
        "when": {"event_type": ["tell_me", "tell_us"], "filter": "loud:true"},
        "do": "notify",
        "message": "{publisher} says {text}",
    },
    {
        "name": "may-it",
        "when": {"event_type": "deploy_wanted"},
        "do": "ask",
        "agent_type": "devops-engineer",
        "task": "Deploy {issue_id} to {place}",
        "message": "May {issue_id} go to {place}?",
    },
    {
        "name": "endless",
        "when": {"event_type": "agent_completed", "filter": "agent_type:swift-specialist"},
        "do": "spawn",
        "agent_type": "swift-specialist",
    },
    {
        "name": "endless-results",
        "when": {"result": {"types": ["flutter-specialist"]}},
        "do": "spawn",
        "agent_type": "flutter-specialist",
    },
    {"name": "after-work", "when": {"event_type": "agent_completed", "filter": "agent_type:rust-specialist"},
     "do": "spawn", "agent_type": "code-reviewer"},
    {"name": "impossible", "when": {"event_type": "impossible"}, "do": "spawn", "agent_type": "data-engineer"},
    {"name": "may-impossible", "when": {"event_type": "impossible_wanted"}, "do": "ask", "agent_type": "data-engineer"},
    {"name": "rulers", "when": {"event_type": "ruler_wanted"}, "do": "spawn", "agent_type": "chief-architect"},
    MARK,
]  # fmt: skip
RULER: list[dict[str, Any]] = [
    {"do": "call", "method": "POST", "path": "/agents/spawn",
     "body": {"agent_type": "chief-architect", "issue_id": "dynasty"}, "expect": 201},
]  # fmt: skip


def script(*steps: dict[str, Any]) -> dict[str, Any]:
    """A runner's entry: what agents of its type do."""
    return {"environment": {"AGENT_SCRIPT": json.dumps(steps)}}


RUNNERS: dict[str, Any] = {
    "default": {"command": scripted_command(), "output": "stream-json"} | script(),
    "go-specialist": script(FAILURE),
    "flutter-specialist": script(SUCCESS),
    "chief-architect": script(*RULER),
    "data-engineer": {"command": ["/nowhere/such-a-program"]},
}


def handing_over(path: Path, runners: dict[str, Any] = RUNNERS, **handover: Any) -> Path:
    """A config file with these rules; agents may call as often as they like."""
    return written(
        path,
        agents={
            "runners": runners,
            "handover": {"rules": RULES, "limits": LIMITS} | handover,
            "rate_limits": {"coding": 0, "development": 0},
        },
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_repository(tmp_path_factory.mktemp("repository") / "small")


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("handover")
    config = handing_over(directory / "config.json", mode="automatic")
    running = SidecarProcess(directory / "storage", root, config=config)
    yield running
    assert running.stop() == ""


@pytest.fixture
def house(tmp_path: Path, root: Path) -> Iterator[House]:
    """For tests that need a sidecar of their own."""
    alone = House(tmp_path / "a" / "b" / "c", root)
    yield alone
    assert alone.stop() == ""


@pytest.fixture
def project() -> str:
    return fresh("project")


def caught_up(sidecar: SidecarProcess, *projects: str) -> None:
    """Waits until the rules have read everything that was published up to now."""
    for project in projects:
        text = fresh("mark")
        publish(sidecar, project, "mark", text=text)
        until(lambda: text in said(sidecar, project), f"the rules to read {project}")  # noqa: B023


def said(sidecar: SidecarProcess, project: str) -> list[str]:
    """The messages to people, and in a dry run those that would be."""
    found = events(sidecar, project, "handover_notification") + events(sidecar, project, "handover_planned")
    return [event["data"]["message"] for event in found if "message" in event["data"]]


def blocked(sidecar: SidecarProcess, project: str) -> list[dict[str, Any]]:
    return [event["data"] for event in events(sidecar, project, "spawn_blocked")]


def followed(sidecar: SidecarProcess, agent: dict[str, Any]) -> SpawnedAgent:
    """A handle on an agent that a rule has spawned."""
    return SpawnedAgent(sidecar, {"agent_id": agent["agent_id"], "jwt_token": None})


def running(sidecar: SidecarProcess, project: str, agent_type: str, number: int = 1) -> list[SpawnedAgent]:
    """Waits for so many agents of a type."""

    def look() -> list[SpawnedAgent]:
        found = [agent for agent in agents(sidecar, project) if agent["agent_type"] == agent_type]
        return [followed(sidecar, each) for each in found] if len(found) >= number else []

    found = until(look, f"{number} agents of type {agent_type}")
    assert len(found) == number
    return found


def asked(sidecar: SidecarProcess, project: str, status: str = "pending") -> list[dict[str, Any]]:
    path = f"/api/approvals?project_id={project}&status={status}"
    found: list[dict[str, Any]] = call(sidecar, "GET", path)["approvals"]
    return found


def answer(sidecar: SidecarProcess, approval: dict[str, Any], *, approved: bool) -> None:
    body = {"approved": approved}
    call(sidecar, "POST", f"/api/approvals/{approval['approval_id']}/answer", json=body)


class TestAutomatic:
    def test_an_event_spawns_with_its_task_filled_in(self, sidecar: SidecarProcess, project: str) -> None:
        event_id = publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "thé {issue_id}"}, times=3)
        (agent,) = running(sidecar, project, "python-specialist")
        ended = agent.wait("completed")
        task = "Build thé {issue_id} of i-1 for operator after design_ready, 3 times; {unknown} {} stay"
        assert ended["task"] == task
        assert (ended["issue_id"], ended["priority"], ended["depth"]) == ("i-1", "high", 1)
        assert ended["spawned_by"] == "handover" and event_id in ended["cause"]
        caught_up(sidecar, project)
        assert len(agents(sidecar, project)) == 1 and not blocked(sidecar, project)

    def test_an_event_without_an_issue_is_not_answered_and_that_is_said(
        self, sidecar: SidecarProcess, project: str
    ) -> None:
        event_id = publish(sidecar, project, "design_ready", part={"name": "x"})
        caught_up(sidecar, project)
        (refusal,) = blocked(sidecar, project)
        assert (refusal["rule"], refusal["event_id"]) == ("code-after-design", event_id)
        assert "issue_id" in refusal["reason"] and not agents(sidecar, project)

    def test_a_result_spawns(self, sidecar: SidecarProcess, project: str) -> None:
        made = spawn_scripted(
            sidecar, [SUCCESS | {"files_modified": ["src/a.py"]}], agent_type="python-pro", project=project
        )
        (tester,) = running(sidecar, project, "test-engineer")
        assert tester.wait("completed")["task"] == f"Test what {made.id} made for issue-123"
        assert tester.get()["depth"] == 1

    def test_a_result_that_does_not_match_spawns_nothing(self, sidecar: SidecarProcess, project: str) -> None:
        for result in (
            SUCCESS | {"files_modified": ["docs/a.md"]},
            SUCCESS | {"status": "failed", "files_modified": ["src/a.py"]},
            SUCCESS | {"status": "partial", "files_modified": ["src/a.py"]},
        ):
            spawn_scripted(sidecar, [result], agent_type="python-pro", project=project).wait("completed")
        caught_up(sidecar, project)
        assert {agent["agent_type"] for agent in agents(sidecar, project)} == {"python-pro"}

    def test_nobody_hands_over_with_another_agents_result(self, sidecar: SidecarProcess, project: str) -> None:
        """An event that names a result counts only from the one that stored it."""
        author = sidecar.agent("python-pro", project=project)
        stored = call(
            sidecar,
            "POST",
            "/api/results",
            author,
            json={
                "agent_type": author.type,
                "issue_id": author.issue,
                "result": {"status": "success", "files_modified": ["src/a.py"]},
            },
        )
        running(sidecar, project, "test-engineer")
        forger = sidecar.agent("python-pro", project=project)
        for data in (
            {"result_id": stored["id"]},
            {"result_id": stored["id"], "agent_id": author.id, "status": "success", "agent_type": "python-pro"},
        ):
            publish(sidecar, project, "agent_completed", forger, issue_id=forger.issue, **data)
        caught_up(sidecar, project)
        running(sidecar, project, "test-engineer", 1)

    def test_who_should_come_next_comes(self, sidecar: SidecarProcess, project: str) -> None:
        made = spawn_scripted(
            sidecar, [SUCCESS | {"next_steps": ["deploy it"]}], agent_type="typescript-pro", project=project
        )
        made.wait("completed")
        caught_up(sidecar, project)
        came = {agent["agent_type"] for agent in agents(sidecar, project)} - {"typescript-pro"}
        stored = call(sidecar, "GET", f"/api/results?project_id={project}")["results"]
        assert len(stored) == 1
        assert came == {"test-engineer", "security-auditor", "devops-engineer"}

    def test_failed_agents_are_tried_again_as_often_as_the_rule_says(
        self, sidecar: SidecarProcess, project: str
    ) -> None:
        failing = [
            spawn_scripted(sidecar, [FAILURE], agent_type="go-specialist", issue=f"i-{number}", project=project)
            for number in range(6)
        ]
        refusals = until(
            lambda: found if len(found := blocked(sidecar, project)) == 6 else [], "the end of the attempts"
        )
        assert [(each.get()["status"], each.get()["attempt"]) for each in failing] == [("failed", 3)] * 6
        assert all(refusal["rule"] == "again" and "3 attempts of 3" in refusal["reason"] for refusal in refusals)
        assert len(agents(sidecar, project)) == 6
        attempts = Counter(event["data"]["agent_id"] for event in events(sidecar, project, "agent_failed"))
        assert attempts == dict.fromkeys((each.id for each in failing), 3)

    def test_a_person_is_told(self, sidecar: SidecarProcess, project: str) -> None:
        heard = [
            publish(sidecar, project, "tell_me", text="one", loud=True),
            publish(sidecar, project, "tell_us", text="two", loud=True),
        ]
        publish(sidecar, project, "tell_me", text="three", loud=False)
        publish(sidecar, project, "tell_them", text="four", loud=True)
        caught_up(sidecar, project)
        notes = events(sidecar, project, "handover_notification")[:-1]
        assert [note["data"]["message"] for note in notes] == ["operator says one", "operator says two"]
        assert [note["data"]["event_id"] for note in notes] == heard
        assert {note["publisher"] for note in notes} == {"orchestration-sidecar"}

    def test_what_a_person_approves_is_spawned(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "deploy_wanted", issue_id="i-7", place="the moon")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        assert (approval["question"], approval["requested_by"]) == ("May i-7 go to the moon?", "handover")
        assert approval["issue_id"] == "i-7" and not agents(sidecar, project)
        answer(sidecar, approval, approved=True)
        (agent,) = running(sidecar, project, "devops-engineer")
        assert agent.wait("completed")["task"] == "Deploy i-7 to the moon"
        kinds = [event["event_type"] for event in events(sidecar, project)]
        assert kinds.index("approval_requested") < kinds.index("approval_answered") < kinds.index("agent_spawned")

    def test_what_a_person_denies_is_not_spawned(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "deploy_wanted", issue_id="i-7", place="the sun")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        answer(sidecar, approval, approved=False)
        caught_up(sidecar, project)
        assert not agents(sidecar, project)

    def test_approved_is_spawned_once_however_often_it_is_said(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "deploy_wanted", issue_id="i-8", place="x")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        liar = sidecar.agent(project=project)
        publish(sidecar, project, "approval_answered", liar, approval_id=approval["approval_id"], status="approved")
        publish(sidecar, project, "approval_answered", approval_id=approval["approval_id"], status="approved")
        caught_up(sidecar, project)
        assert not agents(sidecar, project), "an event took the place of a person's answer"
        answer(sidecar, approval, approved=True)
        for _ in range(3):
            publish(sidecar, project, "approval_answered", liar, approval_id=approval["approval_id"], status="approved")
        caught_up(sidecar, project)
        running(sidecar, project, "devops-engineer", 1)

    def test_an_agents_own_question_spawns_nothing(self, sidecar: SidecarProcess, project: str) -> None:
        """Whatever it writes into it."""
        liar = sidecar.agent(project=project)
        wanted = {"agent_type": "chief-architect", "issue_id": "i", "project_id": project, "command": ["touch", "x"]}
        body = {"question": "May I?", "data": {"spawn": wanted, "depth": 0, "rule": "may-it"}}
        approval = call(sidecar, "POST", "/api/approvals", liar, json=body)
        answer(sidecar, approval, approved=True)
        caught_up(sidecar, project)
        assert not agents(sidecar, project)

    def test_rules_of_one_project_do_not_touch_another(self, sidecar: SidecarProcess) -> None:
        here, there = fresh("project"), fresh("project")
        theirs = spawn_scripted(sidecar, [], agent_type="go-specialist", project=there)
        theirs.wait("completed")
        stranger = sidecar.agent(issue="i", project=here)
        about = {"agent_id": theirs.id, "agent_type": "go-specialist", "status": "success"}
        publish(sidecar, here, "design_ready", stranger, issue_id="i", part={"name": "x"})
        publish(sidecar, here, "agent_failed", stranger, **about)
        publish(sidecar, here, "agent_failed", stranger, publisher=theirs.id, **about)
        # The issue of another project's agent is nobody's business here.
        publish(sidecar, here, "design_ready", stranger, part={"name": "x"}, agent_id=theirs.id)
        caught_up(sidecar, here, there)
        assert [agent["agent_id"] for agent in agents(sidecar, there)] == [theirs.id]
        assert theirs.get()["attempt"] == 1
        assert {agent["issue_id"] for agent in agents(sidecar, here)} == {"i"}


class TestForgedEvents:
    """Agents may publish any event; a rule is not to be talked into more than it says."""

    @pytest.mark.parametrize("ending", ["completed", "stopped"])
    def test_what_did_not_fail_is_not_tried_again(self, sidecar: SidecarProcess, project: str, ending: str) -> None:
        """Least of all what a person stopped."""
        steps = [{"do": "sleep", "seconds": 60}] if ending == "stopped" else []
        agent = spawn_scripted(sidecar, steps, agent_type="go-specialist", project=project)
        if ending == "stopped":
            agent.stop(force=True)
        agent.wait(ending)
        liar = sidecar.agent(project=project)
        publish(sidecar, project, "agent_failed", liar, agent_id=agent.id, agent_type="go-specialist", issue_id="i")
        caught_up(sidecar, project)
        now = agent.get()
        agent.stop(force=True)
        assert (now["status"], now["attempt"]) == (ending, 1)

    @pytest.mark.parametrize("issue", ["../../../../escaped", "/tmp/escaped", "i" * 200, "a b", "-x", "x/y", ".."])
    def test_an_issue_that_is_no_name_spawns_nothing(self, sidecar: SidecarProcess, project: str, issue: str) -> None:
        """It would be part of a path."""
        for publisher in (sidecar.agent(project=project), None):
            publish(sidecar, project, "design_ready", publisher, issue_id=issue, part={"name": "x"})
        caught_up(sidecar, project)
        assert not agents(sidecar, project)
        refusals = blocked(sidecar, project)
        assert [refusal["rule"] for refusal in refusals] == ["code-after-design"] * 2
        assert all("issue" in refusal["reason"] for refusal in refusals)

    def test_a_result_stays_inside_the_storage(self, tmp_path: Path, house: House) -> None:
        """What a rule's agent says last is kept as its result, below the name of its issue."""
        runners = {"default": RUNNERS["default"] | script({"do": "report", "result": "done"})}
        config = handing_over(tmp_path / "config.json", runners, mode="automatic")
        sidecar = house.start(config)
        liar = sidecar.agent(project="p")
        publish(sidecar, "p", "design_ready", liar, issue_id="../../../../../escaped", part={"name": "x"})
        caught_up(sidecar, "p")
        for agent in agents(sidecar, "p"):
            followed(sidecar, agent).wait()
        outside = [path for path in tmp_path.rglob("*.json") if path.name != "config.json"]
        assert [path for path in outside if not path.is_relative_to(sidecar.storage)] == []

    def test_an_event_at_the_size_limit_does_not_stop_the_rules(self, sidecar: SidecarProcess, project: str) -> None:
        """What a rule says about it does not fit into an event."""
        liar = sidecar.agent(project=project)
        most = 256 * 1024
        for event_type, more in (("tell_me", {"loud": True}), ("design_ready", {})):
            size = most
            while True:
                body = {"topic": "testing", "data": {"issue_id": "x" * size, **more}}
                if sidecar.request("POST", f"/api/events/{event_type}", liar, json=body).status_code == 202:
                    break
                size -= 16
        text = fresh("mark")
        publish(sidecar, project, "mark", text=text)
        until(lambda: text in said(sidecar, project), "the rules to go on")

    def test_a_task_with_a_zero_in_it_does_not_stop_the_rules(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "a\0b"})
        caught_up(sidecar, project)
        for agent in agents(sidecar, project):
            followed(sidecar, agent).wait("failed", "completed")

    def test_a_lie_about_who_it_is_does_not_get_deeper(self, tmp_path: Path, house: House) -> None:
        """Each agent asks for the next one, in the name of nobody and for an issue that nobody has."""
        ask = (
            "import json, os, urllib.request as r\n"
            "data = {'issue_id': os.environ['AGENT_ID'], 'agent_id': 'nobody', 'part': {'name': 'x'}}\n"
            "r.urlopen(r.Request(os.environ['SIDECAR_URL'] + '/events/design_ready',\n"
            "    json.dumps({'topic': 'testing', 'data': data}).encode(),\n"
            "    {'Authorization': 'Bearer ' + os.environ['JWT_TOKEN'], 'Content-Type': 'application/json'}))\n"
        )
        runners = {"default": {"command": [sys.executable, "-c", ask]}}
        config = handing_over(tmp_path / "config.json", runners, mode="automatic")
        sidecar = house.start(config)
        publish(sidecar, "p", "design_ready", issue_id="i", part={"name": "x"})

        def settled() -> bool:
            return len(agents(sidecar, "p")) > 4 or bool(blocked(sidecar, "p"))

        until(settled, "the end of the loop")
        assert len(agents(sidecar, "p")) <= LIMITS["depth"]


class TestLimits:
    def test_depth(self, sidecar: SidecarProcess, project: str) -> None:
        """An endless loop of completions."""
        spawn_scripted(sidecar, [], agent_type="swift-specialist", project=project)
        (refusal,) = until(lambda: blocked(sidecar, project), "the limit")
        assert (refusal["rule"], refusal["code"]) == ("endless", "AGT_003")
        assert "depth" in refusal["reason"] and "2 of 2" in refusal["reason"] and "issue-123" in refusal["reason"]
        assert [agent["depth"] for agent in agents(sidecar, project)] == [0, 1, 2]

    def test_depth_of_results(self, sidecar: SidecarProcess, project: str) -> None:
        """An endless loop of results, each stored by the agent itself."""
        spawn_scripted(sidecar, [SUCCESS], agent_type="flutter-specialist", project=project)
        (refusal,) = until(lambda: blocked(sidecar, project), "the limit")
        assert refusal["rule"] == "endless-results" and "depth" in refusal["reason"]
        assert [agent["depth"] for agent in agents(sidecar, project)] == [0, 1, 2]

    def test_depth_of_architects(self, sidecar: SidecarProcess, project: str) -> None:
        """Each calls SpawnAgent for the next; the last is refused."""
        publish(sidecar, project, "ruler_wanted", issue_id="dynasty")
        rulers = running(sidecar, project, "chief-architect", 2)
        ends = [each.wait() for each in rulers]
        assert [(end["depth"], end["status"]) for end in ends] == [(1, "completed"), (2, "failed")]
        status, said = json.loads(rulers[1].logs()[0])
        assert (status, said["code"]) == (403, "AGT_003") and "depth" in said["message"]

    def test_agents(self, sidecar: SidecarProcess, project: str) -> None:
        for _ in range(6):
            publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
        caught_up(sidecar, project)
        assert len(agents(sidecar, project)) == 4
        refusals = blocked(sidecar, project)
        assert len(refusals) == 2 and all("'agents'" in refusal["reason"] for refusal in refusals)
        publish(sidecar, project, "design_ready", issue_id="i-2", part={"name": "x"})
        caught_up(sidecar, project)
        assert [agent["issue_id"] for agent in agents(sidecar, project)][-1] == "i-2", "another issue has its own limit"

    def test_one_more_attempt_is_no_more_agent(self, sidecar: SidecarProcess, project: str) -> None:
        """The limit of agents is reached, and the last of them fails."""
        for _ in range(3):
            spawn_scripted(sidecar, [], issue="i-1", project=project).wait()
        failing = spawn_scripted(sidecar, [FAILURE], agent_type="go-specialist", issue="i-1", project=project)
        until(lambda: blocked(sidecar, project), "the end of the attempts")
        assert failing.get()["attempt"] == 3
        publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
        caught_up(sidecar, project)
        assert len(agents(sidecar, project)) == 4

    @pytest.mark.parametrize(
        ("name", "report"), [("tokens", {"input": 900, "output": 200}), ("cost_usd", {"cost": 1.5})]
    )
    def test_what_was_spent(self, sidecar: SidecarProcess, project: str, name: str, report: dict[str, Any]) -> None:
        spender = spawn_scripted(
            sidecar,
            [{"do": "report", "result": "done", **report}],
            agent_type="python-specialist",
            project=project,
            command=[],
        )
        spender.wait("completed")
        publish(sidecar, project, "design_ready", issue_id="issue-123", part={"name": "x"})
        publish(sidecar, project, "design_ready", issue_id="another", part={"name": "x"})
        caught_up(sidecar, project)
        (refusal,) = blocked(sidecar, project)
        assert f"'{name}'" in refusal["reason"] and refusal["code"] == "AGT_003"
        assert [agent["issue_id"] for agent in agents(sidecar, project)] == ["issue-123", "another"]

    def test_what_an_agent_spent_holds_back_the_one_after_it(self, sidecar: SidecarProcess, project: str) -> None:
        """Its own last report counts when its completion is answered."""
        spender = spawn_scripted(
            sidecar,
            [{"do": "report", "result": "done", "cost": 5.0}],
            agent_type="rust-specialist",
            project=project,
            command=[],
        )
        spender.wait("completed")
        caught_up(sidecar, project)
        assert [agent["agent_type"] for agent in agents(sidecar, project)] == ["rust-specialist"]
        (refusal,) = blocked(sidecar, project)
        assert "cost_usd" in refusal["reason"]

    def test_what_an_agent_says_it_spent_cannot_be_negative(self, sidecar: SidecarProcess, project: str) -> None:
        for number in (2.0, -1000.0):
            spawn_scripted(
                sidecar,
                [{"do": "report", "result": "done", "cost": number, "input": int(number), "output": int(number)}],
                project=project,
                command=[],
            ).wait("completed")
        publish(sidecar, project, "design_ready", issue_id="issue-123", part={"name": "x"})
        caught_up(sidecar, project)
        assert len(blocked(sidecar, project)) == 1

    def test_an_architects_call_is_refused_over_both_doors(
        self, sidecar: SidecarProcess, project: str, stubs: Any
    ) -> None:
        architect = sidecar.agent("chief-architect", project=project)
        body = {"agent_type": "python-specialist", "issue_id": "i-1"}
        for _ in range(4):
            assert sidecar.request("POST", "/api/agents/spawn", architect, json=body).status_code == 201
        problem = refused(sidecar, 403, "AGT_003", "POST", "/api/agents/spawn", architect, json=body)
        assert problem["details"] == {"limit": "agents", "used": 4, "most": 4}
        with pytest.raises(grpc.RpcError) as caught:
            stubs.agents.SpawnAgent(agent_service_pb2.SpawnAgentRequest(**body), metadata=architect.metadata)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert error_of(caught.value).code == "AGT_003"
        assert len(agents(sidecar, project)) == 4

    def test_nor_does_an_architect_start_an_ended_agent_again(self, sidecar: SidecarProcess, project: str) -> None:
        """It would spend more."""
        architect = sidecar.agent("chief-architect", project=project)
        spender = spawn_scripted(
            sidecar, [{"do": "report", "result": "done", "cost": 1.5}], project=project, command=[]
        )
        spender.wait("completed")
        refused(sidecar, 403, "AGT_003", "POST", f"/api/agents/{spender.id}/resume", architect, json={})
        assert spender.get()["attempt"] == 1
        call(sidecar, "POST", f"/api/agents/{spender.id}/resume", json={})

    def test_calls_at_the_same_time_do_not_get_past_a_limit(self, sidecar: SidecarProcess, project: str) -> None:
        architect = sidecar.agent("chief-architect", project=project)
        body = {"agent_type": "python-specialist", "issue_id": "i-1"}

        def spawn(_: int) -> int:
            return sidecar.request("POST", "/api/agents/spawn", architect, json=body).status_code

        with ThreadPoolExecutor(16) as pool:
            statuses = Counter(pool.map(spawn, range(16)))
        assert statuses == {201: 4, 403: 12}
        assert len(agents(sidecar, project)) == 4

    def test_a_person_is_never_held_back(self, sidecar: SidecarProcess, project: str) -> None:
        """Neither when spawning, nor when approving."""
        for _ in range(6):
            spawn_scripted(sidecar, [], issue="i-1", project=project)
        publish(sidecar, project, "deploy_wanted", issue_id="i-1", place="x")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        answer(sidecar, approval, approved=True)
        running(sidecar, project, "devops-engineer", 1)
        assert not blocked(sidecar, project)


class TestTrouble:
    def test_a_rule_that_cannot_spawn_says_so_and_others_go_on(self, sidecar: SidecarProcess, project: str) -> None:
        publish(sidecar, project, "impossible", issue_id="i-1")
        caught_up(sidecar, project)
        (refusal,) = blocked(sidecar, project)
        assert refusal["code"] == "AGT_001" and "such-a-program" in refusal["reason"]
        publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
        running(sidecar, project, "python-specialist")

    def test_an_approved_agent_that_cannot_run_does_not_stop_the_rules(
        self, sidecar: SidecarProcess, project: str
    ) -> None:
        publish(sidecar, project, "impossible_wanted", issue_id="i-1")
        (approval,) = until(lambda: asked(sidecar, project), "the question")
        answer(sidecar, approval, approved=True)
        text = fresh("mark")
        publish(sidecar, project, "mark", text=text)
        until(lambda: text in said(sidecar, project), "the rules to go on")
        (refusal,) = blocked(sidecar, project)
        assert refusal["code"] == "AGT_001"


def test_events_that_went_before_they_were_read_are_not_passed_over_in_silence(tmp_path: Path, root: Path) -> None:
    """A burst beyond what is retained: of every event something is said."""
    config = handing_over(tmp_path / "config.json", {"default": {"command": ["true"]}}, mode="automatic")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"events": {"max_queue_size": 20}}))
    sidecar = SidecarProcess(tmp_path / "storage", root, config=config)
    data = [{"issue_id": f"i-{number}", "part": {"name": "x"}} for number in range(400)]
    wanted = publish_all(sidecar, "p", "design_ready", data)
    missed = 0.0
    # The last gap may be published after the events that are still retained are answered.
    with grpc.insecure_channel(sidecar.target) as channel:
        stream = event_service_pb2_grpc.EventServiceStub(channel).Subscribe(
            event_service_pb2.SubscribeRequest(project_id="p", since="0"),
            metadata=sidecar.operator.metadata,
            timeout=60,
        )
        for batch in stream:
            missed += sum(each.data["missed"] for each in batch.events if each.event_type == "handover_gap")
            answered = {agent["cause"].partition("#")[0] for agent in agents(sidecar, "p")}
            if missed and len(set(wanted) - answered) <= missed and wanted[-1] in answered:
                break
    assert answered < set(wanted), "nothing was trimmed"
    assert sidecar.stop() == ""


class TestModes:
    @pytest.fixture
    def each_kind_of_rule(self) -> Callable[[SidecarProcess, str], None]:
        """Publishes something for each of them."""

        def publish_it(sidecar: SidecarProcess, project: str) -> None:
            publish(sidecar, project, "design_ready", issue_id="i-1", part={"name": "x"})
            publish(sidecar, project, "deploy_wanted", issue_id="i-1", place="x")
            publish(sidecar, project, "tell_me", text="one", loud=True)
            for agent_type, steps, end in (
                ("go-specialist", [FAILURE], "failed"),
                ("python-pro", [SUCCESS | {"files_modified": ["src/a.py"]}], "completed"),
                ("typescript-pro", [SUCCESS], "completed"),
            ):
                spawn_scripted(sidecar, steps, agent_type=agent_type, project=project).wait(end)

        return publish_it

    def test_dry_run_is_the_default_and_spawns_nothing(
        self, tmp_path: Path, house: House, each_kind_of_rule: Callable[[SidecarProcess, str], None]
    ) -> None:
        config = handing_over(tmp_path / "config.json")
        sidecar = house.start(config)
        each_kind_of_rule(sidecar, "p")
        caught_up(sidecar, "p")
        planned = [event["data"] for event in events(sidecar, "p", "handover_planned")]
        assert [(plan["rule"], plan["do"], plan.get("agent_type")) for plan in planned if plan["rule"] != "mark"] == [
            ("code-after-design", "spawn", "python-specialist"),
            ("may-it", "ask", "devops-engineer"),
            ("tell", "notify", None),
            ("again", "retry", None),
            ("tests-after-code", "spawn", "test-engineer"),
            ("suggested", "spawn", "test-engineer"),
            ("suggested", "spawn", "security-auditor"),
        ]
        untouched = [(agent["agent_type"], agent["spawned_by"], agent["attempt"]) for agent in agents(sidecar, "p")]
        assert untouched == [
            ("go-specialist", "operator", 1),
            ("python-pro", "operator", 1),
            ("typescript-pro", "operator", 1),
        ]
        assert not asked(sidecar, "p") and "operator says one" in said(sidecar, "p")
        assert not events(sidecar, "p", "handover_notification")
        # What was only planned is not made good when the mode is changed.
        config = handing_over(tmp_path / "config.json", mode="automatic")
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        assert len(agents(sidecar, "p")) == 3 and not asked(sidecar, "p")

    def test_off_does_nothing_and_nothing_is_made_good(
        self, tmp_path: Path, house: House, each_kind_of_rule: Callable[[SidecarProcess, str], None]
    ) -> None:
        config = handing_over(tmp_path / "config.json", mode="off")
        sidecar = house.start(config)
        each_kind_of_rule(sidecar, "p")
        config = handing_over(tmp_path / "config.json", mode="automatic")
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        assert len(agents(sidecar, "p")) == 3 and not asked(sidecar, "p")
        kinds = Counter(event["event_type"] for event in events(sidecar, "p"))
        assert kinds["handover_planned"] == 0 and kinds["handover_notification"] == 1 and kinds["spawn_blocked"] == 0
        publish(sidecar, "p", "design_ready", issue_id="i-1", part={"name": "x"})
        running(sidecar, "p", "python-specialist")


class TestRestarts:
    """Agents are `true`: they end at once."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        runners = {"default": {"command": ["true"]}}
        limits = {"agents": 4, "depth": 1}
        return handing_over(tmp_path / "config.json", runners, mode="automatic", limits=limits)

    def test_what_was_acknowledged_is_answered_once_after_kill_9(self, house: House, config: Path) -> None:
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        wanted: list[str] = []
        for number in range(4):
            data = [{"issue_id": f"i-{number}-{n}", "part": {"name": "x"}} for n in range(6)]
            wanted += publish_all(sidecar, "p", "design_ready", data)
            time.sleep(random.uniform(0, 0.06))
            sidecar = house.start(config)
        caught_up(sidecar, "p")
        found = agents(sidecar, "p")
        causes = Counter(agent["cause"].partition("#")[0] for agent in found)
        assert set(wanted) - set(causes) == set(), "acknowledged and never answered"
        assert causes == Counter(wanted), "answered twice"
        assert not blocked(sidecar, "p")
        for agent in found:
            followed(sidecar, agent).wait()

    def test_the_first_events_of_a_project_are_answered_after_kill_9(self, house: House, config: Path) -> None:
        """Nothing was ever read of it."""
        sidecar = house.start(config)
        wanted: dict[str, list[str]] = {}
        for number in range(2):
            project = f"new-{number}"
            data = [{"issue_id": f"i-{n}", "part": {"name": "x"}} for n in range(12)]
            wanted[project] = publish_all(sidecar, project, "design_ready", data)
            sidecar = house.start(config)
        caught_up(sidecar, *wanted)
        for project, ids in wanted.items():
            causes = Counter(agent["cause"].partition("#")[0] for agent in agents(sidecar, project))
            assert causes == Counter(ids)

    def test_what_an_agent_said_is_answered_after_kill_9(self, house: House, config: Path) -> None:
        """It runs elsewhere with a token, and does not call again after the restart."""
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        agent = sidecar.agent(issue="i-1", project="p")
        # The rules are busy with these when it speaks.
        publish_all(sidecar, "p", "tell_me", [{"text": "x", "loud": True}] * 300)
        wanted = [publish(sidecar, "p", "design_ready", agent, issue_id="i-1", part={"name": "x"}) for _ in range(3)]
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        assert blocked(sidecar, "p") == []
        assert Counter(agent["cause"].partition("#")[0] for agent in agents(sidecar, "p")) == Counter(wanted)

    def test_a_person_is_told_once_also_after_kill_9(self, house: House, config: Path) -> None:
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        data = [{"text": f"number {number}", "loud": True} for number in range(300)]
        wanted = publish_all(sidecar, "p", "tell_me", data)
        until(lambda: len(said(sidecar, "p")) > 3, "the first of them")
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        told = [event["data"] for event in events(sidecar, "p", "handover_notification")]
        times = Counter(note["event_id"] for note in told if note["rule"] == "tell")
        assert set(wanted) == set(times)
        twice = {event_id for event_id, number in times.items() if number > 1}
        assert not twice, f"{len(twice)} of {len(wanted)} were told twice"

    def test_what_was_answered_is_not_called_blocked_after_kill_9(self, house: House, config: Path) -> None:
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        publish_all(sidecar, "p", "design_ready", [{"issue_id": "i-1", "part": {"name": "x"}}] * 300)
        until(lambda: blocked(sidecar, "p"), "the limit")
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        causes = {agent["cause"].partition("#")[0] for agent in agents(sidecar, "p")}
        assert len(causes) == 4
        assert causes & {refusal["event_id"] for refusal in blocked(sidecar, "p")} == set()

    def test_nothing_is_published_to_a_sidecar_that_is_down(self, house: House, config: Path) -> None:
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        before = len(events(sidecar, "p"))
        house.kill()
        body = {"topic": "testing", "project_id": "p", "data": {"issue_id": "i", "part": {"name": "x"}}}
        with pytest.raises(requests.ConnectionError):
            sidecar.request("POST", "/api/events/design_ready", json=body)
        sidecar = house.start(config)
        assert len(events(sidecar, "p")) == before
        caught_up(sidecar, "p")
        assert not agents(sidecar, "p")

    def test_a_question_is_asked_once_and_its_answer_counts_after_kill_9(self, house: House, config: Path) -> None:
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        data = [{"issue_id": f"i-{number}", "place": "x"} for number in range(8)]
        publish_all(sidecar, "p", "deploy_wanted", data)
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        questions = asked(sidecar, "p")
        assert Counter(question["issue_id"] for question in questions) == Counter(each["issue_id"] for each in data)
        for question in questions:
            answer(sidecar, question, approved=True)
        sidecar = house.start(config)
        caught_up(sidecar, "p")
        causes = Counter(agent["cause"] for agent in agents(sidecar, "p"))
        assert causes == Counter(question["approval_id"] for question in questions)
        announced = Counter(event["data"]["approval_id"] for event in events(sidecar, "p", "approval_requested"))
        assert announced == causes


def rule(**changes: Any) -> dict[str, Any]:
    """One that is right but for the changes."""
    right = {"when": {"event_type": "x"}, "do": "spawn", "agent_type": "python-specialist"}
    return {key: value for key, value in (right | changes).items() if value is not None}


# What is wrong, and what the line must say.
WRONG: dict[str, tuple[Any, tuple[str, ...]]] = {
    "no object": ([], ("agents.handover",)),
    "unknown key": ({"rule": []}, ("agents.handover", "'rule'")),
    "mode": ({"mode": "auto"}, ("agents.handover.mode", "'auto'", "dry_run")),
    "mode of another kind": ({"mode": True}, ("agents.handover.mode",)),
    "rules": ({"rules": {}}, ("agents.handover", "rules")),
    "limits": ({"limits": []}, ("agents.handover", "limits")),
    "unknown limit": ({"limits": {"dept": 1}}, ("limits", "'dept'", "depth")),
    "negative limit": ({"limits": {"agents": -1}}, ("limits.agents", "-1")),
    "limit of another kind": ({"limits": {"tokens": "many"}}, ("limits.tokens", "'many'")),
    "limit that is a truth": ({"limits": {"cost_usd": True}}, ("limits.cost_usd",)),
    "rule that is none": ({"rules": [rule(), "x"]}, ("rules[1]",)),
    "unknown key of a rule": ({"rules": [rule(wen={})]}, ("rules[0]", "'wen'")),
    "no when": ({"rules": [rule(when=None)]}, ("rules[0].when",)),
    "empty when": ({"rules": [rule(when={})]}, ("rules[0].when",)),
    "unknown key of when": (
        {"rules": [rule(when={"event_type": "x", "fliter": "a:b"})]}, ("rules[0].when", "'fliter'", "filter")
    ),
    "event type": ({"rules": [rule(when={"event_type": 5})]}, ("rules[0].when.event_type",)),
    "event types": ({"rules": [rule(when={"event_type": ["a", 5]})]}, ("rules[0].when.event_type",)),
    "no event type": ({"rules": [rule(when={"event_type": []})]}, ("rules[0].when.event_type",)),
    "filter": ({"rules": [rule(), rule(when={"filter": "a=="})]}, ("rules[1].when", "filter")),
    "filter of another kind": ({"rules": [rule(when={"filter": ["a:b"]})]}, ("rules[0].when", "filter")),
    "result": ({"rules": [rule(when={"result": "success"})]}, ("rules[0].when.result",)),
    "unknown key of a result": ({"rules": [rule(when={"result": {"statuss": []}})]}, ("rules[0].when.result", "statuss")),
    "groups of a result": ({"rules": [rule(when={"result": {"groups": 5}})]}, ("rules[0].when.result",)),
    "types of a result": ({"rules": [rule(when={"result": {"types": 5}})]}, ("rules[0].when.result",)),
    "status of a result": ({"rules": [rule(when={"result": {"status": 5}})]}, ("rules[0].when.result",)),
    "touches of a result": ({"rules": [rule(when={"result": {"touches": 5}})]}, ("rules[0].when.result",)),
    "next steps of a result": ({"rules": [rule(when={"result": {"next_steps": [5]}})]}, ("rules[0].when.result",)),
    "group that there is not": ({"rules": [rule(when={"result": {"groups": ["codng"]}})]}, ("groups", "'codng'")),
    "type that there is not": ({"rules": [rule(when={"result": {"types": ["pyton"]}})]}, ("types", "'pyton'")),
    "status that there is not": (
        {"rules": [rule(when={"result": {"status": ["succes"]}})]}, ("status", "'succes'", "success")
    ),
    "nothing to tell": ({"rules": [rule(do="notify")]}, ("rules[0].message",)),
    "no do": ({"rules": [rule(do=None)]}, ("rules[0].do",)),
    "do": ({"rules": [rule(do="run")]}, ("rules[0].do", "'run'", "spawn")),
    "no agent type": ({"rules": [rule(agent_type=None)]}, ("rules[0].agent_type",)),
    "agent type": ({"rules": [rule(name="a"), rule(agent_type="pythonist")]}, ("rules[1].agent_type", "'pythonist'")),
    "agent type of another kind": ({"rules": [rule(agent_type=["python-specialist"])]}, ("rules[0].agent_type",)),
    "priority": ({"rules": [rule(priority="urgent")]}, ("rules[0].priority", "'urgent'")),
    "priority of another kind": ({"rules": [rule(priority=["high"])]}, ("rules[0].priority",)),
    "attempts": ({"rules": [rule(do="retry", attempts=0)]}, ("rules[0].attempts", "0")),
    "attempts of another kind": ({"rules": [rule(do="retry", attempts="2")]}, ("rules[0].attempts",)),
    "name": ({"rules": [rule(name=5)]}, ("rules[0].name",)),
    "task": ({"rules": [rule(task=5)]}, ("rules[0].task",)),
    "message": ({"rules": [rule(message=5)]}, ("rules[0].message",)),
    # Who answered what is kept under the rule's name.
    "name used twice": ({"rules": [rule(name="a"), rule(name="a")]}, ("rules[1].name", "'a'")),
}  # fmt: skip


STARTED = ("unknown limit", "agent type", "agent type of another kind")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_config_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    config = written(tmp_path / "config.json", agents={"handover": WRONG[name][0]})
    with pytest.raises(SettingsError) as caught:
        Budget.of(Plan.of(load(config, {}, {}).handover, TYPES).limits)
    assert "\n" not in str(caught.value)
    for words in WRONG[name][1]:
        assert words in str(caught.value)


@pytest.mark.parametrize("name", STARTED)
def test_a_wrong_config_stops_the_start(tmp_path: Path, root: Path, name: str) -> None:
    config = written(tmp_path / "config.json", agents={"handover": WRONG[name][0]})
    line = start_refused(tmp_path, root, config)
    for words in WRONG[name][1]:
        assert words in line
