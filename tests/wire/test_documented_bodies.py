"""Each documented form of a body works over REST; a mixture of the forms is refused, and the error says what would be
valid.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.sidecars import call, fresh

from cco_sidecar.testing.process import Agent, SidecarProcess


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(issue=fresh("issue"))


def store(sidecar: SidecarProcess, agent: Agent, body: dict[str, Any]) -> Any:
    return sidecar.request("POST", "/api/results", headers=agent.headers, json=body)


@pytest.mark.parametrize(
    "body",
    [
        {"agent_type": "python-specialist", "files_created": ["src/a.py"], "decisions": ["JWT"]},
        {"files_created": [{"path": "src/a.py", "size": 7}], "decisions": ["JWT"], "status": "success"},
        {"result": {"files_created": ["src/a.py"], "decisions": ["JWT"]}},
        {"decisions": ["JWT"], "files_created": ["src/a.py"], "own_key": {"kept": True}},
    ],
)
def test_a_result_flat_or_nested(sidecar: SidecarProcess, agent: Agent, body: dict[str, Any]) -> None:
    stored = store(sidecar, agent, body)
    assert stored.status_code == 201, stored.text
    kept = call(sidecar, "GET", f"/api/results/{stored.json()['id']}?project_id={agent.project}")
    assert (kept["agent_id"], kept["agent_type"], kept["issue_id"]) == (agent.id, agent.type, agent.issue)
    assert (kept["result"]["status"], kept["result"]["decisions"]) == ("success", ["JWT"])
    assert kept["result"].get("own_key") == body.get("own_key")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"result": {"decisions": []}, "decisions": ["x"]}, "'decisions' is given next to 'result'"),
        ({"errors": ["it broke"]}, "result.status is required"),
        ({"result": {"errors": ["it broke"]}}, "result.status is required"),
        ({"decisions": ["x"], "file_created": ["a"]}, "did you mean 'files_created'"),
        ({"file_created": ["a"]}, "did you mean 'files_created'"),
        ({}, "result is required"),
    ],
)
def test_a_mixture_of_forms_is_refused(sidecar: SidecarProcess, agent: Agent, body: dict[str, Any], says: str) -> None:
    refused = store(sidecar, agent, body)
    assert refused.status_code == 400 and says in refused.json()["message"], refused.text


def test_the_operator_names_the_agent_of_a_result(sidecar: SidecarProcess) -> None:
    refused = sidecar.request("POST", "/api/results", sidecar.operator, json={"decisions": ["x"]})
    assert refused.status_code == 400 and "agent_type is required" in refused.json()["message"]


def publish(sidecar: SidecarProcess, agent: Agent, path: str, body: dict[str, Any]) -> Any:
    return sidecar.request("POST", f"/api/events/{path}", headers=agent.headers, json=body)


@pytest.mark.parametrize(
    ("path", "body", "event_type", "topic", "data"),
    [
        ("implementation", {"event_type": "implementation_complete"}, "implementation_complete", "implementation", {}),
        ("implementation", {"event_type": "own", "topic": "testing"}, None, None, None),
        ("own_type", {"topic": "testing", "data": {"a": 1}}, "own_type", "testing", {"a": 1}),
        (
            "own_type",
            {"coverage": 91.5, "files": ["x"]},
            "own_type",
            "coordination",
            {"coverage": 91.5, "files": ["x"]},
        ),
        ("testing", {"event_type": "done", "score": 7}, "done", "testing", {"score": 7}),
        ("own_type", {"event_type": "another"}, None, None, None),
        ("own_type", {"topics": "testing"}, None, None, None),
        ("own_type", {"data": {}, "loose": 1}, None, None, None),
    ],
)
def test_an_event_in_both_documented_forms(
    sidecar: SidecarProcess,
    agent: Agent,
    path: str,
    body: dict[str, Any],
    event_type: str | None,
    topic: str,
    data: Any,
) -> None:
    answer = publish(sidecar, agent, path, body)
    if event_type is None:
        assert answer.status_code == 400, answer.text
        return
    assert answer.status_code == 202, answer.text
    events = call(sidecar, "GET", f"/api/events?event_type={event_type}&limit=1000&project_id={agent.project}")[
        "events"
    ]
    (event,) = [each for each in events if each["event_id"] == answer.json()["event_id"]]
    assert (event["topic"], event["data"], event["publisher"]) == (topic, data, agent.id)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:3001"}, 200),
        ({"Host": "[::1]:3001"}, 200),
        ({"Host": "evil.example"}, 401),
        ({"Host": "127.0.0.1.evil.example:3001"}, 401),
        ({"Host": "localhost.evil.example"}, 401),
        ({"X-Forwarded-Host": "x"}, 401),
        ({"X-Forwarded-For": "1.2.3.4"}, 401),
        ({"X-Real-IP": "1.2.3.4"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"Forwarded": "for=1.2.3.4"}, 401),
        ({"CF-Connecting-IP": "1.2.3.4"}, 401),
        ({"Grpc-Metadata-X-Real-Ip": "1.2.3.4"}, 200),
    ],
)
def test_status_without_a_token_is_for_this_machine_only(
    sidecar: SidecarProcess, headers: dict[str, str], status: int
) -> None:
    assert sidecar.request("GET", "/status", headers=headers).status_code == status


def test_metadata_does_not_replace_the_authorization_header(sidecar: SidecarProcess, agent: Agent) -> None:
    headers = {"Grpc-Metadata-Authorization": f"Bearer {agent.token}"}
    assert sidecar.request("GET", "/api/events", headers=headers).status_code == 401


def decisions(sidecar: SidecarProcess, issue: str) -> dict[str, str]:
    path = f"/api/context/{issue}/chief-architect"
    outputs = call(sidecar, "GET", path)["context"]["previous_agent_outputs"]
    return {each["decision"]: each["agent_type"] for each in outputs}


def test_a_decision_counts_for_its_publishers_own_issue_and_type(sidecar: SidecarProcess) -> None:
    mine, theirs, word = fresh("issue"), fresh("issue"), fresh("decision")
    agent = sidecar.agent(issue=mine, project="default")
    for issue, text in ((mine, word), (theirs, f"{word}-forged"), ("", f"{word}-nowhere")):
        data = {"decision": text, "agent_type": "chief-architect", **({"issue_id": issue} if issue else {})}
        assert publish(sidecar, agent, "design_updated", {"data": data}).status_code == 202
    assert decisions(sidecar, mine)[word] == agent.type
    every = decisions(sidecar, theirs)
    assert f"{word}-forged" not in every and f"{word}-nowhere" not in every


def test_security_events_are_logged_without_tokens(sidecar: SidecarProcess, agent: Agent) -> None:
    assert sidecar.request("GET", "/api/events", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert sidecar.request("POST", "/api/tokens", headers=agent.headers, json={}).status_code == 403
    call(sidecar, "POST", "/api/tokens/revoke", json={"agent_id": agent.id})
    log = (sidecar.storage / "logs" / "security.log").read_text()
    for event in ("token_refused", "call_denied", "revoked"):
        assert f'"event":"{event}"' in log, event
    assert agent.id in log and agent.token not in log and "eyJ" not in log
