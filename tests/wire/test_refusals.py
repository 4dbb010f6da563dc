"""Every refusal has the right status, the documented body, and the same meaning on both transports."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import grpc
import jwt
import pytest
import requests
from tests.wire import shapes
from tests.wire.shapes import assert_shape

from cco_sidecar.client.errors import error_of
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import agent_service_pb2, context_service_pb2, event_service_pb2, result_service_pb2


def refused(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert_shape(body, shapes.ERROR)
    assert body["code"] == code, body
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


class TestHttp:
    @pytest.mark.parametrize(
        "path", ["/dashboard", "/api", "/api/nothing", "/health/", "/api/context/only-one", "/api//x"]
    )
    def test_an_unknown_path(self, sidecar: SidecarProcess, path: str) -> None:
        refused(sidecar.request("GET", path), 404, "REQ_002")

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
    def test_a_wrong_method(self, sidecar: SidecarProcess, method: str) -> None:
        answer = sidecar.request(method, "/api/results")
        refused(answer, 405, "REQ_003")
        assert answer.headers["allow"] == "GET, POST"

    def test_a_large_body(self, sidecar: SidecarProcess, agent: Agent) -> None:
        answer = sidecar.request(
            "POST", "/api/results", agent, data=b"x" * (11 * 2**20), headers={"Content-Type": "application/json"}
        )
        refused(answer, 413, "REQ_004")

    def test_an_unsupported_media_type(self, sidecar: SidecarProcess, agent: Agent) -> None:
        body = refused(sidecar.request("POST", "/api/results", agent, data={"a": "b"}), 415, "REQ_005")
        assert "Content-Type: application/json" in body["message"]

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b"{", "line 1, column"),
            (b"[]", "must be a JSON object"),
            (b'"text"', "must be a JSON object"),
            (b'{"a": NaN}', "is not valid JSON"),
            (b"\xff\xfe", "is not valid JSON"),
            (b'{"agent": "x"}', "did you mean 'agent_id'?"),
            (b'{"result": {"status": "done"}}', "success, partial, failed"),
            (b'{"result": {"files_created": "a.py"}}', "result.files_created: expected an array"),
            (b'{"result": {"files_created": [7]}}', "result.files_created[0]: expected a string or an object"),
            (b'{"result": {"metrics": {"x": "fast"}}}', "result.metrics.x: expected a number"),
            (b'{"timestamp": "yesterday"}', "RFC 3339"),
            (b'{"result": {"big": 12345678901234567890}}', "2^53"),
        ],
    )
    def test_a_broken_body(self, sidecar: SidecarProcess, agent: Agent, body: bytes, says: str) -> None:
        answer = sidecar.request("POST", "/api/results", agent, data=body, headers={"Content-Type": "application/json"})
        assert says in refused(answer, 400, "REQ_001")["message"]

    def test_nested_too_deeply(self, sidecar: SidecarProcess, agent: Agent) -> None:
        value: Any = 1
        for _ in range(200):
            value = {"x": value}
        refused(sidecar.request("POST", "/api/events/deep", agent, json={"data": value}), 400, "REQ_001")

    @pytest.mark.parametrize(
        "path",
        ["/api/context/..%2f..%2fetc/python-specialist", "/api/context/%00/python-specialist", "/api/context/a%20b/x"],
    )
    def test_an_invalid_name(self, sidecar: SidecarProcess, path: str) -> None:
        refused(sidecar.request("GET", path, sidecar.operator), 400, "REQ_001")

    def test_a_path_that_is_not_text(self, sidecar: SidecarProcess) -> None:
        refused(sidecar.request("GET", "/api/context/%ff/python-specialist", sidecar.operator), 400, "REQ_001")

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=1001", "limit=ten", "limit=1&limit=2", "lmit=1", "since=yesterday"]
    )
    def test_a_bad_query(self, sidecar: SidecarProcess, agent: Agent, query: str) -> None:
        code = "EVT_002" if query.startswith("since") else "REQ_001"
        refused(sidecar.request("GET", f"/api/events?{query}", agent), 400, code)

    def test_a_filter_error_points_at_the_character(self, sidecar: SidecarProcess, agent: Agent) -> None:
        body = refused(sidecar.request("GET", "/api/events/wait/x?filter=issue_id==x", agent), 400, "EVT_002")
        assert body["details"]["position"] == 9
        assert "write issue_id:x" in body["message"]

    def test_the_callers_deadline(self, sidecar: SidecarProcess, agent: Agent) -> None:
        answer = sidecar.request("GET", "/api/events/wait/never", agent, headers={"Grpc-Timeout": "50m"})
        refused(answer, 504, "REQ_006")
        answer = sidecar.request("GET", "/api/events/wait/never", agent, headers={"Grpc-Timeout": "soon"})
        refused(answer, 400, "REQ_001")

    def test_security_headers_and_the_callers_request_id(self, sidecar: SidecarProcess) -> None:
        answer = sidecar.request(
            "GET", "/health", headers={"X-Request-Id": "trace-7", "Origin": "https://evil.example"}
        )
        assert answer.headers["x-request-id"] == "trace-7"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers

    def test_head_has_no_body(self, sidecar: SidecarProcess) -> None:
        answer = sidecar.request("HEAD", "/health")
        assert answer.status_code == 200 and answer.content == b"" and int(answer.headers["content-length"]) > 100


class TestTokens:
    def test_a_missing_token(self, sidecar: SidecarProcess) -> None:
        answer = sidecar.request("GET", "/api/events")
        refused(answer, 401, "AUTH_001")
        assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_an_expired_token(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("chief-architect", ttl_seconds=1)
        deadline = time.monotonic() + 10
        while (answer := sidecar.request("GET", "/api/events", agent)).status_code == 200:
            assert time.monotonic() < deadline
        refused(answer, 401, "AUTH_002")

    def test_a_forged_token(self, sidecar: SidecarProcess, agent: Agent) -> None:
        head, body, signature = agent.token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        public = sidecar.request("GET", "/.well-known/jwks.json").json()["keys"][0]
        other = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "someone"}).encode()).decode().rstrip("=")
        forged = [
            f"{head}.{other}.{signature}",
            jwt.encode(claims, None, algorithm="none"),
            jwt.encode(claims, public["n"], algorithm="HS256"),
            "not.a.token",
            "",
        ]
        for token in forged:
            answer = requests.get(f"{sidecar.url}/api/events", headers={"Authorization": f"Bearer {token}"}, timeout=5)
            refused(answer, 401, "AUTH_001")

    def test_the_published_key_verifies_tokens(self, sidecar: SidecarProcess, agent: Agent) -> None:
        keys = jwt.PyJWKSet.from_dict(sidecar.request("GET", "/.well-known/jwks.json").json())
        key = keys[jwt.get_unverified_header(agent.token)["kid"]]
        claims = jwt.decode(agent.token, key, algorithms=["RS256"], audience="cco-sidecar", issuer="cco-sidecar")
        assert (claims["sub"], claims["project_id"], claims["issue_id"]) == (agent.id, agent.project, agent.issue)

    def test_a_revoked_token_is_refused_on_both_transports_at_once(self, sidecar: SidecarProcess, stubs: Any) -> None:
        agent = sidecar.agent()
        stream = stubs.events.Subscribe(event_service_pb2.SubscribeRequest(), metadata=agent.metadata)
        next(stream)
        answer = sidecar.request("POST", "/api/tokens/revoke", sidecar.operator, json={"agent_id": agent.id})
        assert answer.status_code == 200
        refused(sidecar.request("GET", "/api/events", agent), 401, "AUTH_001")
        with pytest.raises(grpc.RpcError) as caught:
            stubs.events.ListEvents(event_service_pb2.ListEventsRequest(), metadata=agent.metadata)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() == grpc.StatusCode.UNAUTHENTICATED

    def test_refresh_in_the_last_five_minutes_only(self, sidecar: SidecarProcess) -> None:
        early = sidecar.agent(ttl_seconds=3600)
        body = refused(sidecar.request("POST", "/api/tokens/refresh", early), 403, "AUTH_003")
        assert 3200 < body["details"]["refreshable_in_seconds"] <= 3301
        late = sidecar.agent(ttl_seconds=200)
        answer = sidecar.request("POST", "/api/tokens/refresh", late)
        assert answer.status_code == 200
        refused(sidecar.request("GET", "/api/events", late), 401, "AUTH_001")
        renewed = {"Authorization": f"Bearer {answer.json()['jwt_token']}"}
        assert requests.get(f"{sidecar.url}/api/events", headers=renewed, timeout=5).status_code == 200


class TestPermissions:
    @pytest.mark.parametrize(
        "agent_type",
        [
            "chief-architect",
            "python-specialist",
            "devops-engineer",
            "test-engineer",
            "security-auditor",
            "technical-writer",
            "ui-ux-designer",
            "fact-checker",
            "business-analyst",
        ],
    )
    def test_every_group_may_follow_the_documented_lifecycle(
        self, sidecar: SidecarProcess, stubs: Any, agent_type: str
    ) -> None:
        agent = sidecar.agent(agent_type)
        body = {"agent_type": agent.type, "issue_id": agent.issue, "result": {"status": "success"}}
        stored = sidecar.request("POST", "/api/results", agent, json=body)
        published = sidecar.request("POST", "/api/events/x", agent, json={})
        assert (stored.status_code, published.status_code) == (201, 202)
        request = event_service_pb2.PublishEventRequest(event_type="x")
        assert stubs.events.PublishEvent(request, metadata=agent.metadata).published
        refused(
            sidecar.request("POST", "/api/tokens", agent, json={"agent_type": "x", "issue_id": "y"}), 403, "AUTH_003"
        )

    def test_another_issue(self, sidecar: SidecarProcess, agent: Agent, stubs: Any) -> None:
        refused(sidecar.request("GET", f"/api/context/issue-999/{agent.type}", agent), 403, "AUTH_003")
        refused(sidecar.request("GET", "/api/results?issue_id=issue-999", agent), 403, "AUTH_003")
        body = {"agent_type": agent.type, "issue_id": "issue-999", "result": {"status": "success"}}
        refused(sidecar.request("POST", "/api/results", agent, json=body), 403, "AUTH_003")
        with pytest.raises(grpc.RpcError) as caught:
            request = context_service_pb2.GetContextRequest(issue_id="issue-999", agent_type=agent.type)
            stubs.context.GetContext(request, metadata=agent.metadata)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED

    def test_another_type_is_for_architects_only(self, sidecar: SidecarProcess, agent: Agent) -> None:
        refused(sidecar.request("GET", f"/api/context/{agent.issue}/go-specialist", agent), 403, "AUTH_003")
        architect = sidecar.agent("chief-architect")
        answer = sidecar.request("GET", "/api/context/issue-999/go-specialist", architect)
        assert answer.status_code == 200

    def test_another_project_does_not_exist(self, sidecar: SidecarProcess, agent: Agent, stubs: Any) -> None:
        stranger = sidecar.agent("chief-architect", project="project-xyz")
        body = {"agent_type": agent.type, "issue_id": agent.issue, "result": {"status": "success"}}
        stored = sidecar.request("POST", "/api/results", agent, json=body).json()
        refused(sidecar.request("GET", f"/api/results/{stored['id']}", stranger), 404, "RES_001")
        refused(sidecar.request("GET", f"/api/results?project_id={agent.project}", stranger), 404, "PRJ_001")
        refused(sidecar.request("POST", "/api/events/x", stranger, json={"project_id": agent.project}), 404, "PRJ_001")
        assert sidecar.request("GET", "/api/events", stranger).json()["events"] == []
        with pytest.raises(grpc.RpcError) as caught:
            request = result_service_pb2.GetResultRequest(id=stored["id"])
            stubs.results.GetResult(request, metadata=stranger.metadata)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    def test_nobody_acts_for_another(self, sidecar: SidecarProcess, agent: Agent) -> None:
        refused(sidecar.request("POST", "/api/events/x", agent, json={"publisher": "someone"}), 403, "AUTH_003")
        body = {
            "agent_id": "someone",
            "agent_type": agent.type,
            "issue_id": agent.issue,
            "result": {"status": "success"},
        }
        refused(sidecar.request("POST", "/api/results", agent, json=body), 403, "AUTH_003")
        as_operator = sidecar.request("POST", "/api/events/x", sidecar.operator, json={"publisher": "someone"})
        assert as_operator.status_code == 202


class TestRateLimits:
    def test_rest_reports_the_remaining_calls(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent("technical-writer")
        left = []
        while (answer := sidecar.request("GET", "/api/events", agent)).status_code == 200:
            assert answer.headers["x-ratelimit-limit"] == "30"
            assert int(answer.headers["x-ratelimit-reset"]) >= time.time() - 1
            left.append(int(answer.headers["x-ratelimit-remaining"]))
        assert left[0] == 34 and 35 <= len(left) <= 37
        body = refused(answer, 429, "RATE_001")
        assert body["details"]["limit"] == 30 and 1 <= body["details"]["retry_after_seconds"] <= 2
        assert int(answer.headers["retry-after"]) >= 1 and answer.headers["x-ratelimit-remaining"] == "0"

    def test_grpc_reports_the_same(self, sidecar: SidecarProcess, stubs: Any) -> None:
        agent = sidecar.agent("technical-writer")
        request = event_service_pb2.ListEventsRequest()
        _, call = stubs.events.ListEvents.with_call(request, metadata=agent.metadata)
        said = dict(call.trailing_metadata())
        assert (said["x-ratelimit-limit"], said["x-ratelimit-remaining"]) == ("30", "34")
        with pytest.raises(grpc.RpcError) as caught:
            for _ in range(40):
                stubs.events.ListEvents(request, metadata=agent.metadata)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        error = error_of(caught.value)
        assert error.code == "RATE_001" and error.retry_after_seconds and error.details["limit"] == 30

    def test_operators_and_architects_are_not_limited(self, sidecar: SidecarProcess) -> None:
        architect = sidecar.agent("chief-architect")
        for _ in range(80):
            answer = sidecar.request("GET", "/api/events?limit=1", architect)
        assert answer.status_code == 200 and "x-ratelimit-limit" not in answer.headers


class TestGrpc:
    def test_errors_carry_their_details(self, stubs: Any, agent: Agent) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            request = event_service_pb2.WaitEventsRequest(filter="a==b")
            stubs.events.WaitEvents(request, metadata=agent.metadata)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        error = error_of(caught.value)
        assert (error.code, error.field, error.details["position"]) == ("EVT_002", "filter", 2)

    def test_rules_of_the_proto_apply_here_too(self, stubs: Any, sidecar: SidecarProcess) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            request = agent_service_pb2.CreateTokenRequest(agent_type="../x", issue_id="y")
            stubs.agents.CreateToken(request, metadata=sidecar.operator.metadata)
        assert error_of(caught.value).field == "agent_type"

    def test_bytes_that_are_not_a_message(self, grpc_channel: grpc.Channel, agent: Agent) -> None:
        call = grpc_channel.unary_unary("/orchestra.v1.EventService/ListEvents")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff", metadata=agent.metadata)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
