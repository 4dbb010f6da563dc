"""Which requests are refused, and with which messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.wire import shapes
from tests.wire.agents.deployment import PROJECT, Deployment
from tests.wire.shapes import assert_shape

from orchestra.v1 import agent_service_pb2, approval_service_pb2

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
    ("task", "x" * 100_001, "the maximum is 100000"),
    ("task", "a\0b", "NUL"),
    ("context_requirements", "docs/*.md", "expected an array"),
    ("context_requirements", [7], "context_requirements[0]: expected a string"),
    ("context_requirements", ["docs/*.md"] * 101, "the maximum is 100"),
    ("context_requirements", ["all_of_it"], "neither a pattern"),
    ("context_requirements", [""], "neither a pattern"),
    ("context_requirements", ["a\0b"], "NUL"),
    ("context_requirements", ["docs/\0*.md"], "NUL"),
    ("environment", [], "expected an object"),
    ("environment", "A=b", "expected an object"),
    ("environment", {"A": 7}, "environment.A: expected a string"),
    ("environment", {"A": None}, "environment.A"),
    ("environment", {f"A{n}": "x" for n in range(1001)}, "the maximum is 1000"),
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
    ("command", [""], "a program is required"),
    ("command", ["", "x"], "a program is required"),
    ("command", ["sleep", "5\0"], "NUL"),
    ("command", ["sleep"] * 1001, "the maximum is 1000"),
    ("isolation", "docker", "is not one of: none, worktree"),
    ("isolation", True, "is not one of: none, worktree"),
    ("credentials", "KEY", "expected an array"),
    ("credentials", [7], "credentials[0]: expected a string"),
    ("credentials", ["KEY"] * 101, "the maximum is 100"),
    ("timeout_seconds", -1, "is not between 0 and"),
    ("timeout_seconds", 2_592_001, "is not between 0 and"),
    ("timeout_seconds", 2**31, "is not between"),
    ("timeout_seconds", 1.5, "expected an integer"),
    ("timeout_seconds", "60", "expected an integer"),
    ("timeout_seconds", True, "expected an integer"),
    ("model", 7, "expected a string"),
    ("model", "x" * 257, "the maximum is 256"),
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
def test_a_bad_spawn_is_refused_with_its_field(deployment: Deployment, field: str, value: Any, says: str) -> None:
    before = deployment.ask("ListAgents", limit=1)["agents"]
    answer = deployment.sidecar.request("POST", "/api/agents/spawn", deployment.operator, json=SPAWN | {field: value})
    if answer.status_code == 201:
        deployment.ask("StopAgent", agent_id=answer.json()["agent_id"], force=True)
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert_shape(error, shapes.ERROR)
    assert error["code"] == "REQ_001" and says in error["message"], error["message"]
    assert str(error["details"]["field"]).startswith(field)
    assert len(error["message"]) <= 500
    assert deployment.ask("ListAgents", limit=1)["agents"] == before


def message(message_type: Any, **fields: Any) -> Any:
    return message_type(**fields)


def spawn_message(**fields: Any) -> Any:
    return message(agent_service_pb2.SpawnAgentRequest, **SPAWN, **fields)


# Requests that only a message can express, or that both transports carry: the same refusal.
MESSAGES: list[tuple[str, Any, str]] = [
    ("SpawnAgent", agent_service_pb2.SpawnAgentRequest(), "agent_type is required"),
    ("SpawnAgent", spawn_message(priority=99), "priority: 99 is not a known value"),
    ("SpawnAgent", spawn_message(isolation=-1), "isolation: -1 is not a known value"),
    ("SpawnAgent", spawn_message(timeout_seconds=-1), "is not between 0 and"),
    ("SpawnAgent", spawn_message(task="x" * 100_001), "the maximum is 100000"),
    ("SpawnAgent", spawn_message(task="a\0b"), "NUL"),
    ("SpawnAgent", spawn_message(environment={"A": "\0"}), "cannot be set"),
    (
        "SpawnAgent",
        spawn_message(environment={f"A{n}": "" for n in range(1001)}),
        "the maximum is 1000",
    ),
    ("ListAgents", message(agent_service_pb2.ListAgentsRequest, status=77), "status: 77 is not a known value"),
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
    ("ListApprovals", message(approval_service_pb2.ListApprovalsRequest, status=9), "status: 9 is not a known value"),
    ("ListApprovals", approval_service_pb2.ListApprovalsRequest(cursor="-1"), "is not a next_cursor"),
]


@pytest.mark.parametrize(
    ("rpc", "sent", "says"), MESSAGES, ids=[f"{rpc}-{says[:30]}-{n}" for n, (rpc, _, says) in enumerate(MESSAGES)]
)
def test_a_bad_message_is_refused(deployment: Deployment, rpc: str, sent: Any, says: str) -> None:
    answer = deployment.transports.grpc(rpc).send(sent, deployment.operator)
    if answer.status == "OK" and rpc == "SpawnAgent":
        deployment.ask("StopAgent", agent_id=answer.body["agent_id"], force=True)
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
        ("cursor=" + "9" * 129, "the maximum is 128"),
        (f"agent_type={LONG_ID}", "the maximum is 128"),
        (f"issue_id={LONG_ID}", "the maximum is 128"),
        ("project_id=a%20b", "is not a name"),
        ("lmit=1", "did you mean 'limit'?"),
        ("status=running&state=x", "has no field 'state'"),
        ("issue_id=%ff", "percent-encode"),
    )),
    # Stopping and resuming.
    ("DELETE", "/api/agents/x?force=maybe", None, "is not true or false"),
    ("DELETE", "/api/agents/x?timeout=-1", None, "is not between 0 and 3600"),
    ("DELETE", "/api/agents/x?timeout=3601", None, "is not between 0 and 3600"),
    ("DELETE", "/api/agents/x?timeout=nan", None, "is not a number"),
    ("DELETE", "/api/agents/x?timeout=1e999", None, "is not a number"),
    ("DELETE", "/api/agents/x?timeout=ten", None, "is not a number"),
    ("POST", "/api/agents/x/resume", {"message": 7}, "expected a string"),
    ("POST", "/api/agents/x/resume", {"message": "x" * 100_001}, "the maximum is 100000"),
    ("POST", "/api/agents/x/resume", {"task": "x"}, "has no field 'task'"),
    ("POST", "/api/agents/x/resume", {"agent_id": "y"}, "the path has 'x' but the body has 'y'"),
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
    ("POST", "/api/agents/x/heartbeat", {"message": "x" * 2001}, "the maximum is 2000"),
    ("POST", "/api/agents/x/heartbeat", {"needs_input": "yes"}, "expected true or false"),
    ("POST", "/api/agents/x/heartbeat", {"progress": 40}, "has no field 'progress'"),
    # Approvals.
    ("POST", "/api/approvals", {}, "question is required"),
    ("POST", "/api/approvals", {"question": ""}, "question is required"),
    ("POST", "/api/approvals", {"question": 7}, "expected a string"),
    ("POST", "/api/approvals", {"question": "x" * 10_001}, "the maximum is 10000"),
    ("POST", "/api/approvals", {"question": "x", "data": []}, "expected an object"),
    ("POST", "/api/approvals", {"question": "x", "data": {"n": 2**60}}, "2^53"),
    ("POST", "/api/approvals", {"question": "x", "issue_id": "a b"}, "is not a name"),
    ("POST", "/api/approvals", {"question": "x", "project_id": "a b"}, "is not a name"),
    ("POST", "/api/approvals", {"question": "x", "status": "approved"}, "has no field 'status'"),
    ("GET", "/api/approvals?status=open", None, "is not one of: pending, approved, denied"),
    ("GET", "/api/approvals?cursor=rubbish", None, "is not a next_cursor"),
    ("GET", "/api/approvals?limit=0", None, "is not between 1 and 1000"),
    ("GET", f"/api/approvals?issue_id={LONG_ID}", None, "the maximum is 128"),
    ("GET", "/api/approvals/a%20b", None, "is not a name"),
    ("POST", "/api/approvals/x/answer", {"approved": "yes"}, "expected true or false"),
    ("POST", "/api/approvals/x/answer", {"approved": True, "comment": "x" * 10_001}, "the maximum is 10000"),
    ("POST", "/api/approvals/a%20b/answer", {"approved": True}, "is not a name"),
    # Credentials.
    *(
        ("PUT", f"/api/credentials/{name}", {"value": "x"}, "is not a valid name of an environment variable")
        for name in ("1KEY", "A-B", "A%20B", "A%00", "%C3%84", "A%0A")
    ),
    ("PUT", "/api/credentials/" + "A" * 129, {"value": "x"}, "the maximum is 128"),
    ("PUT", "/api/credentials/KEY", {}, "value is required"),
    ("PUT", "/api/credentials/KEY", {"value": ""}, "value is required"),
    ("PUT", "/api/credentials/KEY", {"value": "x" * 65_537}, "the maximum is 65536"),
    ("PUT", "/api/credentials/KEY", {"value": "a\0b"}, "NUL"),
    ("PUT", "/api/credentials/KEY", {"name": "OTHER", "value": "x"}, "the path has 'KEY' but the body has 'OTHER'"),
    ("GET", "/api/credentials/" + "A" * 129, None, "the maximum is 128"),
    # Access and tokens.
    ("GET", "/api/access", None, "agent is required"),
    ("GET", "/api/access?agent=go-specialist", None, "rpc is required"),
    ("GET", f"/api/access?rpc=GetAgent&agent={LONG_ID}", None, "the maximum is 128"),
    ("GET", "/api/access?agent=go-specialist&rpc=" + "x" * 257, None, "the maximum is 256"),
    ("GET", "/api/access?agent=go-specialist&rpc=GetAgents", None, "did you mean 'GetAgent'?"),
    ("POST", "/api/tokens", {"agent_type": "go-specialist", "issue_id": "i", "ttl_seconds": 0}, "is not between"),
    ("POST", "/api/tokens", {"agent_type": "go-specialist", "issue_id": "i", "agent_id": "a b"}, "is not a name"),
    ("GET", f"/api/agent-types?group={LONG_ID}", None, "the maximum is 128"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "path", "body", "says"),
    BAD_CALLS,
    ids=[f"{verb} {path[:60]} {shown(body) if body is not None else ''}".strip() for verb, path, body, _ in BAD_CALLS],
)
def test_a_bad_call_is_refused_with_a_clear_message(
    deployment: Deployment, verb: str, path: str, body: Any, says: str
) -> None:
    answer = deployment.sidecar.request(verb, path, deployment.operator, json=body)
    assert answer.status_code == 400, (answer.status_code, answer.text)
    error = answer.json()
    assert_shape(error, shapes.ERROR)
    assert error["code"] == "REQ_001" and says in error["message"], error["message"]


def test_an_answer_must_say_yes_or_no(deployment: Deployment) -> None:
    """A missing `approved` is not a denial."""
    asked = deployment.ask("RequestApproval", question="May it?", project_id=PROJECT)
    path = f"/api/approvals/{asked['approval_id']}/answer"
    answer = deployment.sidecar.request("POST", path, deployment.operator, json={"comment": "hm"})
    assert answer.status_code == 400, answer.text
    assert deployment.ask("GetApproval", approval_id=asked["approval_id"])["status"] == "pending"


def test_a_resumed_agents_message_may_not_contain_a_nul(deployment: Deployment) -> None:
    agent_id = deployment.spawn()["agent_id"]
    deployment.ask("StopAgent", agent_id=agent_id, force=True)
    answer = deployment.sidecar.request(
        "POST", f"/api/agents/{agent_id}/resume", deployment.operator, json={"message": "a\0b"}
    )
    assert answer.status_code == 400, answer.text


def test_reserved_names_are_refused(deployment: Deployment) -> None:
    """Agents would believe a token in the name of the operator, of the rules or of the sidecar itself."""
    for name in ("operator", "handover", "orchestration-sidecar"):
        answer = deployment.transports.grpc("CreateToken").call(SPAWN | {"agent_id": name}, deployment.operator)
        assert answer.status == "INVALID_ARGUMENT", name
