"""Approvals, credentials and tokens over both transports."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from tests.support.sidecars import fresh
from tests.wire import agent_shapes, shapes
from tests.wire.agents.deployment import BOTH, PROJECT, Deployment, refused, same
from tests.wire.shapes import assert_shape

from cco_sidecar.testing.process import Agent


class TestApprovals:
    @BOTH
    def test_a_question_and_its_answer(self, deployment: Deployment, transport: str) -> None:
        data = {"cost": 12.5, "files": ["a.py"], "nested": {"deep": None}}
        request = {"question": "Deploy to production?", "issue_id": "issue-1", "project_id": PROJECT, "data": data}
        asked = deployment.transport("RequestApproval", transport).call(request, deployment.operator).body
        assert_shape(asked, agent_shapes.APPROVAL)
        assert (asked["status"], asked["question"], asked["data"]) == ("pending", request["question"], data)
        assert "answered_at" not in asked and asked["comment"] == ""
        named = {"approval_id": asked["approval_id"]}
        assert same([d.call(named, deployment.operator) for d in deployment.transports.of("GetApproval")]) == asked
        answer = named | {"approved": transport == "grpc", "comment": "not before Monday"}
        answered = deployment.transport("AnswerApproval", transport).call(answer, deployment.operator).body
        assert_shape(answered, agent_shapes.APPROVAL)
        assert answered["status"] == ("approved" if transport == "grpc" else "denied")
        assert answered["comment"] == "not before Monday" and answered["answered_at"] >= answered["created_at"]
        for approved in (True, False):
            refused(deployment, "AnswerApproval", named | {"approved": approved}, 409, "APR_002")
        assert deployment.ask("GetApproval", **named) == answered

    def test_a_question_and_its_answer_are_events(self, deployment: Deployment) -> None:
        asked = deployment.ask("RequestApproval", question="May it?", issue_id="issue-1", project_id=PROJECT)
        deployment.ask("AnswerApproval", approval_id=asked["approval_id"], approved=True, comment="yes")
        listed = deployment.ask("ListEvents", correlation_id=asked["approval_id"], project_id=PROJECT, since="0")
        for event in listed["events"]:
            assert_shape(event, shapes.EVENT)
        found = [(e["event_type"], e["data"]["status"], e["data"]["comment"]) for e in listed["events"]]
        assert found == [("approval_requested", "pending", ""), ("approval_answered", "approved", "yes")]

    def test_a_list_is_paged_and_filtered(self, deployment: Deployment) -> None:
        project = fresh("project")
        ids = [deployment.ask("RequestApproval", question=str(n), project_id=project)["approval_id"] for n in range(3)]
        deployment.ask("AnswerApproval", approval_id=ids[1], approved=False)
        for transport in deployment.transports.of("ListApprovals"):
            listed: list[str] = []
            cursor = ""
            while cursor is not None:
                request = {"project_id": project, "limit": 2} | ({"cursor": cursor} if cursor else {})
                page = transport.call(request, deployment.operator).body
                assert_shape(page, agent_shapes.APPROVALS)
                listed += [each["approval_id"] for each in page["approvals"]]
                cursor = page["next_cursor"]
            assert listed == ids[::-1], transport.name
            for status, found in (("pending", [ids[2], ids[0]]), ("denied", [ids[1]]), ("approved", [])):
                page = transport.call({"project_id": project, "status": status}, deployment.operator).body
                assert [each["approval_id"] for each in page["approvals"]] == found

    def test_an_agent_asks_for_itself(self, deployment: Deployment) -> None:
        agent = deployment.sidecar.agent(project=PROJECT)
        for transport in deployment.transports.of("RequestApproval"):
            asked = transport.call({"question": "May I?"}, agent).body
            assert (asked["requested_by"], asked["issue_id"]) == (agent.id, agent.issue)
            assert asked["project_id"] == PROJECT

    def test_an_unknown_approval(self, deployment: Deployment) -> None:
        refused(deployment, "GetApproval", {"approval_id": "apr-0"}, 404, "APR_001")
        refused(deployment, "AnswerApproval", {"approval_id": "apr-0", "approved": True}, 404, "APR_001")


class TestCredentials:
    @BOTH
    def test_a_credential_is_stored_read_listed_and_deleted(self, deployment: Deployment, transport: str) -> None:
        name, value = f"KEY_{transport.upper()}", "geheim ✓ 'quoted'\nsecond line"
        stored = deployment.transport("StoreCredential", transport).call(
            {"name": name, "value": value}, deployment.operator
        )
        assert_shape(stored.body, agent_shapes.CREDENTIAL)
        assert stored.body["name"] == name
        got = same([d.call({"name": name}, deployment.operator) for d in deployment.transports.of("GetCredential")])
        assert_shape(got, agent_shapes.CREDENTIAL_VALUE)
        assert got["value"] == value
        again = (
            deployment.transport("StoreCredential", transport)
            .call({"name": name, "value": "new"}, deployment.operator)
            .body
        )
        assert again["created_at"] == stored.body["created_at"] and again["updated_at"] > stored.body["updated_at"]
        listed = same([d.call({}, deployment.operator) for d in deployment.transports.of("ListCredentials")])
        assert_shape(listed, agent_shapes.CREDENTIALS)
        assert name in [each["name"] for each in listed["credentials"]] and "new" not in json.dumps(listed)
        deleted = deployment.transport("DeleteCredential", transport).call({"name": name}, deployment.operator).body
        assert_shape(deleted, agent_shapes.DELETED)
        assert deleted == {"deleted": True, "name": name}
        for rpc in ("GetCredential", "DeleteCredential"):
            assert name in refused(deployment, rpc, {"name": name}, 404, "CRD_001")

    def test_a_missing_credential_stops_a_spawn(self, deployment: Deployment) -> None:
        request = {"agent_type": "go-specialist", "issue_id": fresh("issue"), "credentials": ["NO_SUCH_KEY"]}
        assert "NO_SUCH_KEY" in refused(deployment, "SpawnAgent", request, 404, "CRD_001")
        assert deployment.ask("ListAgents", issue_id=request["issue_id"])["agents"] == [], "refused, but stored anyway"

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
    def test_an_error_never_shows_the_value(self, deployment: Deployment, body: dict[str, Any], secret: str) -> None:
        answer = deployment.sidecar.request("PUT", "/api/credentials/PIN", deployment.operator, json=body)
        assert answer.status_code == 400
        assert secret not in answer.text
        assert secret not in (deployment.sidecar.storage / "logs" / "orchestration.log").read_text()


class TestTokens:
    @BOTH
    def test_a_token_is_made_and_revoked(self, deployment: Deployment, transport: str) -> None:
        request = {"agent_type": "go-specialist", "issue_id": "issue-1", "project_id": PROJECT}
        made = deployment.transport("CreateToken", transport).call(request, deployment.operator).body
        assert_shape(made, agent_shapes.TOKEN)
        agent = Agent(made["agent_id"], "go-specialist", "issue-1", PROJECT, made["jwt_token"])
        assert deployment.transport("ListEvents", transport).call({}, agent).status in ("OK", 200)
        jti = jwt.decode(agent.token, options={"verify_signature": False})["jti"]
        revoked = (
            deployment.transport("RevokeToken", transport)
            .call({"jti": jti, "agent_id": agent.id}, deployment.operator)
            .body
        )
        assert_shape(revoked, agent_shapes.REVOKED)
        assert revoked["revoked"] == 2
        assert deployment.transport("ListEvents", transport).call({}, agent).code == "AUTH_001"
