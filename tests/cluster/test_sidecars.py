"""Two sidecars on one PostgreSQL and one NATS: whichever is asked, the answer is that of one sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.sidecars import fresh, until
from tests.support.team import Team, cluster_of, id_of, leader_of

from cco_sidecar.testing.process import Agent, SidecarProcess

pytestmark = pytest.mark.cluster

SLEEP = ["sleep", "600"]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, root: Path, postgres_url: str, nats_url: str) -> Iterator[Team]:
    made = Team(tmp_path_factory.mktemp("team"), root, postgres_url, nats_url)
    made.start("one")
    made.start("two")
    until(lambda: all(len(cluster_of(each)["members"]) == 2 for each in made.running), "both to know each other")
    yield made
    assert made.stop() == ""


@pytest.fixture
def pair(team: Team) -> tuple[SidecarProcess, SidecarProcess]:
    """The sidecar that leads, and the other."""
    leader = leader_of(team.running[0])
    one, two = team.running[:2]
    return (one, two) if id_of(one) == leader else (two, one)


def ask(sidecar: SidecarProcess, method: str, path: str, body: Any = None, agent: Agent | None = None) -> Any:
    answer = sidecar.request(method, path, agent or sidecar.operator, json=body)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


def spawn(sidecar: SidecarProcess, issue: str = "issue-1", command: list[str] | None = None, **more: Any) -> Any:
    body = {"agent_type": "python-specialist", "issue_id": issue, "task": "t", "command": command or SLEEP, **more}
    return ask(sidecar, "POST", "/api/agents/spawn", body)


def agent_of(sidecar: SidecarProcess, agent_id: str) -> Any:
    return ask(sidecar, "GET", f"/api/agents/{agent_id}")


def test_both_know_who_is_there_and_who_leads(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    leader, other = pair
    first, second = cluster_of(leader), cluster_of(other)
    assert first["leader_id"] == second["leader_id"] == first["sidecar_id"] == id_of(leader)
    assert second["sidecar_id"] == id_of(other)
    assert [each["alive"] for each in first["members"]] == [True, True]
    assert {each["address"] for each in second["members"]} == {leader.target, other.target}


def test_a_cursor_of_one_continues_at_the_other(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    project = fresh("project")
    sent = [ask(one, "POST", "/api/events/built", {"project_id": project, "data": {"n": n}}) for n in range(3)]
    page = ask(two, "GET", f"/api/events?project_id={project}&since={sent[0]['event_id']}")
    assert [each["data"]["n"] for each in page["events"]] == [1, 2]
    polled = ask(two, "GET", f"/api/events/wait?project_id={project}&since={sent[1]['event_id']}&timeout=1000")
    assert [each["data"]["n"] for each in polled["events"]] == [2]


def test_a_poll_continues_where_the_last_one_ended_at_the_other(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    agent = one.agent(project=fresh("project"), agent_type="python-specialist")
    ask(one, "GET", "/api/events/wait?timeout=10", agent=agent)
    ask(one, "POST", "/api/events/built", {"project_id": agent.project, "data": {"n": 1}})
    polled = ask(two, "GET", "/api/events/wait?timeout=3000", agent=agent)
    assert [each["data"]["n"] for each in polled["events"]] == [1]


def test_a_consumer_is_one_whoever_is_asked(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    leader, other = pair
    project = fresh("project")
    ask(other, "POST", "/api/consumers", {"name": "c", "project_id": project})
    for number in range(2):
        ask(other, "POST", "/api/events/built", {"project_id": project, "data": {"n": number}})
    taken = [
        ask(each, "POST", f"/api/consumers/c/pull?project_id={project}", {"limit": 1, "timeout": 5000})["deliveries"][0]
        for each in (other, leader)
    ]
    assert sorted(each["event"]["data"]["n"] for each in taken) == [0, 1]
    acknowledged = {"delivery_ids": [each["delivery_id"] for each in taken]}
    assert ask(other, "POST", f"/api/consumers/c/ack?project_id={project}", acknowledged)["settled"] == 2
    assert ask(leader, "GET", f"/api/consumers/c?project_id={project}")["in_flight_count"] == 0


def test_an_agent_is_reached_through_either(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    made = spawn(one, command=["sh", "-c", "echo hello; sleep 600"])
    agent_id = made["agent_id"]
    seen = agent_of(two, agent_id)
    assert seen["status"] == "running" and seen["sidecar_id"] == id_of(one)
    until(lambda: "hello" in two.request("GET", f"/api/agents/{agent_id}/logs", two.operator).text, "its output")
    agent = Agent(agent_id, "python-specialist", "issue-1", "default", made["jwt_token"])
    ask(two, "POST", f"/api/agents/{agent_id}/heartbeat", {"percent": 40, "message": "half way"}, agent)
    assert agent_of(one, agent_id)["progress"]["message"] == "half way"
    listed = ask(two, "GET", "/api/agents?status=running")["agents"]
    until(lambda: agent_of(two, agent_id)["progress"]["percent"] == 40, "the progress")
    assert agent_id in [each["agent_id"] for each in listed]
    assert ask(two, "DELETE", f"/api/agents/{agent_id}")["status"] == "stopped"
    refused = one.request("GET", "/api/events", agent)
    assert refused.status_code == 401, "its tokens are revoked everywhere"


def test_an_agent_that_ended_is_resumed_where_it_ran(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    agent_id = spawn(one, command=["true"])["agent_id"]
    until(lambda: agent_of(two, agent_id)["status"] == "completed", "its end")
    ask(two, "POST", f"/api/agents/{agent_id}/resume", {"message": "again"})
    ended = until(lambda: found if (found := agent_of(two, agent_id))["attempt"] == 2 else None, "the second attempt")
    assert ended["sidecar_id"] == id_of(one)


def test_a_token_revoked_at_one_is_refused_by_the_other(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    agent = one.agent(project="default")
    ask(two, "GET", "/api/events", agent=agent)
    ask(one, "POST", "/api/tokens/revoke", {"agent_id": agent.id})
    until(lambda: two.request("GET", "/api/events", agent).status_code == 401, "the refusal", 5)


def test_a_login_link_of_one_works_at_the_other(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    code = ask(one, "POST", "/api/login-codes", {})["code"]
    answer = requests.post(f"{two.url}/api/login-codes/exchange", json={"code": code}, timeout=10)
    assert answer.ok, answer.text
    again = requests.post(f"{one.url}/api/login-codes/exchange", json={"code": code}, timeout=10)
    assert again.status_code == 401


def test_a_schema_set_at_one_holds_at_the_other(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    project = fresh("project")
    ask(two, "PUT", f"/api/schemas/built?project_id={project}", {"schema": {"required": ["n"]}})
    body = {"project_id": project, "data": {}}
    for each in (one, two):
        until(
            lambda each=each: (  # type: ignore[misc]
                each.request("POST", "/api/events/built", each.operator, json=body).status_code == 400
            ),
            "the schema",
            5,
        )


def test_a_schedule_is_published_once(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    project = fresh("project")
    body = {"after_seconds": 1, "event": {"event_type": "due", "project_id": project, "data": {}}}
    ask(two, "POST", "/api/schedules", body)
    found = ask(one, "GET", f"/api/events/wait?project_id={project}&since=0&timeout=10000")["events"]
    assert [each["event_type"] for each in found] == ["due"]
    assert ask(one, "GET", f"/api/schedules?project_id={project}")["schedules"] == []


def test_results_and_documents_are_everyones(pair: tuple[SidecarProcess, SidecarProcess]) -> None:
    one, two = pair
    agent = one.agent(project="default", issue=fresh("issue"))
    body = {"status": "success", "summary": "done"}
    stored = ask(one, "POST", "/api/results", {"result": body, "idempotency_key": "k"}, agent)
    again = ask(two, "POST", "/api/results", {"result": body, "idempotency_key": "k"}, agent)
    assert again["id"] == stored["id"]
    assert ask(two, "GET", f"/api/results/{agent.issue}/{agent.type}", agent=agent)["result"]["summary"] == "done"
