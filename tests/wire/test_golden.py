"""Each documented request body over both transports: the same effect, the documented answer."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tests.wire import shapes
from tests.wire.shapes import assert_shape

from cco_sidecar.core import codec
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import context_service_pb2, event_service_pb2, result_service_pb2, system_service_pb2

RESULT: dict[str, Any] = {
    "status": "success",
    "files_created": [
        "src/plain.py",
        {"path": "src/api.py", "size": 4096, "language": "python", "checksum": "sha256:abc123"},
        {"path": "only-path.py"},
    ],
    "files_modified": [
        {"path": "requirements.txt", "diff": "+1 -0", "changes": ["Added fastapi==0.104.0"], "reviewer": "kim"},
        "setup.cfg",
    ],
    "files_deleted": ["old/deprecated.py"],
    "decisions": ["Implemented REST API with FastAPI", "Added comprehensive test suite"],
    "metrics": {
        "execution_time_ms": 4500,
        "tokens_used": 15000,
        "test_coverage": 92.3,
        "lines_of_code": 250,
        "complexity_score": 3.2,
        "coffee_cups": 2,
    },
    "artifacts": {"api_documentation": "# API Docs...", "test_report": "All tests passing"},
    "errors": [],
    "warnings": ["Consider adding rate limiting"],
    "next_steps": ["Security audit required", "Load testing recommended"],
    "confidence": 0.75,
    "notes": {"nested": [1, "two", None, True]},
}


def create_body(agent: Agent, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "agent_id": agent.id,
        "agent_type": agent.type,
        "issue_id": agent.issue,
        "project_id": agent.project,
        "result": result,
        "timestamp": "2025-11-17T12:00:00Z",
    }


def event_body(agent: Agent) -> dict[str, Any]:
    return {
        "event_type": "architecture_defined",
        "publisher": agent.id,
        "topic": "architecture",
        "data": {
            "issue_id": agent.issue,
            "decision": "Use microservices architecture",
            "rationale": "Better scalability",
            "services": ["api", "worker", "database"],
            "files_changed": 5,
        },
        "correlation_id": "review-session-123",
        "ttl_seconds": 86400,
        "priority": "high",
    }


def over_rest(sidecar: SidecarProcess, agent: Agent, method: str, path: str, status: int, **more: Any) -> Any:
    answer = sidecar.request(method, path, agent, **more)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


class TestContext:
    def test_rest(self, sidecar: SidecarProcess, agent: Agent) -> None:
        body = over_rest(sidecar, agent, "GET", f"/api/context/{agent.issue}/{agent.type}", 200)
        assert_shape(body, shapes.CONTEXT)
        paths = [file["path"] for file in body["context"]["relevant_files"]]
        assert "src/cco_sidecar/core/errors.py" in paths
        assert not any(path.endswith((".go", ".ts", ".md")) for path in paths if path != "README.md")
        assert body["file_count"] == len(paths)
        assert body["context"]["metadata"]["project_type"] == "python"
        assert any(item.startswith("grpcio>=") for item in body["context"]["metadata"]["dependencies"])

    def test_grpc_returns_the_same(self, sidecar: SidecarProcess, agent: Agent, stubs: Any) -> None:
        # Within what a gRPC client receives by default.
        most = 2_000_000
        path = f"/api/context/{agent.issue}/{agent.type}?max_bytes={most}"
        over_rest(sidecar, agent, "GET", path, 200)
        rest = over_rest(sidecar, agent, "GET", path, 200)
        request = context_service_pb2.GetContextRequest(issue_id=agent.issue, agent_type=agent.type, max_bytes=most)
        answer = codec.to_dict(stubs.context.GetContext(request, metadata=agent.metadata))
        assert rest.pop("timestamp") != answer.pop("timestamp")
        assert rest == answer
        assert rest["cache_hit"] is True

    def test_gzip_returns_the_same(self, sidecar: SidecarProcess, agent: Agent) -> None:
        path = f"/api/context/{agent.issue}/{agent.type}"
        packed = sidecar.request("GET", path, agent, headers={"Accept-Encoding": "gzip"})
        plain = sidecar.request("GET", path, agent, headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
        first, second = packed.json(), plain.json()
        first.pop("timestamp"), second.pop("timestamp"), first.pop("cache_hit"), second.pop("cache_hit")
        assert first == second

    def test_unknown_type(self, sidecar: SidecarProcess) -> None:
        body = over_rest(sidecar, sidecar.operator, "GET", "/api/context/issue-123/no-such-type", 404)
        assert_shape(body, shapes.ERROR)
        assert body["code"] == "AGT_002"


class TestResults:
    def test_rest_round_trip(self, sidecar: SidecarProcess, agent: Agent) -> None:
        stored = over_rest(sidecar, agent, "POST", "/api/results", 201, json=create_body(agent, RESULT))
        assert_shape(stored, shapes.STORED)
        assert stored["stored"] is True and stored["event_published"] is True
        again = over_rest(sidecar, agent, "GET", f"/api/results/{stored['id']}", 200)
        assert again["result"] == RESULT
        assert again["timestamp"] == "2025-11-17T12:00:00Z"
        newest = over_rest(sidecar, agent, "GET", f"/api/results/{agent.issue}/{agent.type}", 200)
        assert newest == again
        on_disk = json.loads((sidecar.storage / stored["storage_path"]).read_text())
        assert on_disk == again
        assert stored["storage_path"] == f"results/{agent.project}/{agent.issue}/{agent.type}.json"

    def test_suggestions_follow_the_rules_of_the_config(self, sidecar: SidecarProcess, agent: Agent) -> None:
        stored = over_rest(sidecar, agent, "POST", "/api/results", 201, json=create_body(agent, RESULT))
        suggested = {item["agent_type"]: item["priority"] for item in stored["next_agents"]}
        assert suggested["test-engineer"] == "high"
        assert suggested["security-auditor"] == "high"
        assert suggested["load-testing-specialist"] == "medium"
        assert all(item["reason"] for item in stored["next_agents"])

    def test_grpc_round_trip(self, sidecar: SidecarProcess, agent: Agent, stubs: Any) -> None:
        request = codec.from_dict(result_service_pb2.CreateResultRequest, create_body(agent, RESULT))
        stored = stubs.results.CreateResult(request, metadata=agent.metadata)
        again = over_rest(sidecar, agent, "GET", f"/api/results/{stored.id}", 200)
        assert again["result"] == RESULT
        got = stubs.results.GetResult(result_service_pb2.GetResultRequest(id=stored.id), metadata=agent.metadata)
        assert codec.to_dict(got.result) == again

    @pytest.mark.parametrize(
        "result",
        [
            {"status": "success", "files_created": ["src/feature.py"], "metrics": {"test_coverage": 95.0}},
            {"status": "partial", "warnings": ["Advanced features pending"], "next_steps": ["Complete edge cases"]},
            {"status": "failed", "errors": ["missing dependency X"], "next_steps": ["Consult Chief Architect"]},
        ],
    )
    def test_documented_outcomes_publish_their_event(
        self, sidecar: SidecarProcess, agent: Agent, result: dict[str, Any]
    ) -> None:
        stored = over_rest(sidecar, agent, "POST", "/api/results", 201, json=create_body(agent, result))
        events = over_rest(sidecar, agent, "GET", f"/api/events?correlation_id={stored['id']}", 200)["events"]
        assert [event["event_id"] for event in events] == [stored["event_id"]]
        failed = result["status"] == "failed"
        assert events[0]["event_type"] == ("agent_failed" if failed else "agent_completed")
        assert events[0]["data"]["status"] == result["status"]
        assert events[0]["data"]["issue_id"] == agent.issue

    def test_history_is_kept_and_listed_newest_first(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent(issue="issue-history")
        ids = [
            over_rest(sidecar, agent, "POST", "/api/results", 201, json=create_body(agent, {"status": "success", "decisions": [str(n)]}))["id"]
            for n in range(5)
        ]  # fmt: skip
        listed, cursor = [], None
        while True:
            query = "limit=2" + (f"&cursor={cursor}" if cursor else "")
            page = over_rest(sidecar, agent, "GET", f"/api/results?{query}", 200)
            listed += [result["id"] for result in page["results"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert listed == ids[::-1]
        latest = over_rest(sidecar, agent, "GET", "/api/results?latest=true", 200)["results"]
        assert [result["id"] for result in latest] == ids[-1:]

    def test_an_earlier_result_is_part_of_the_context(self, sidecar: SidecarProcess) -> None:
        author = sidecar.agent(issue="issue-handover")
        result = {"status": "success", "files_created": ["README.md"], "decisions": ["Use PyJWT"], "rationale": "small"}
        over_rest(sidecar, author, "POST", "/api/results", 201, json=create_body(author, result))
        next_one = sidecar.agent("test-engineer", issue="issue-handover")
        body = over_rest(sidecar, next_one, "GET", "/api/context/issue-handover/test-engineer", 200)
        (output,) = body["context"]["previous_agent_outputs"]
        assert output["agent"] == author.id
        assert (output["decision"], output["rationale"]) == ("Use PyJWT", "small")
        assert output["files_affected"] == ["README.md"]
        assert "README.md" in [file["path"] for file in body["context"]["relevant_files"]]


class TestEvents:
    def test_rest_round_trip(self, sidecar: SidecarProcess, agent: Agent) -> None:
        body = event_body(agent)
        published = over_rest(sidecar, agent, "POST", "/api/events/architecture_defined", 202, json=body)
        assert_shape(published, shapes.PUBLISHED)
        assert published["topic"] == "architecture" and published["ttl_seconds"] == 86400
        listed = over_rest(sidecar, agent, "GET", "/api/events?event_type=architecture_defined&limit=1", 200)
        (event,) = listed["events"]
        assert_shape(event, shapes.EVENT)
        assert event["event_id"] == published["event_id"]
        assert event["data"] == body["data"]
        assert event["correlation_id"] == "review-session-123"

    def test_grpc_round_trip(self, sidecar: SidecarProcess, agent: Agent, stubs: Any) -> None:
        body = event_body(agent)
        request = codec.from_dict(event_service_pb2.PublishEventRequest, body)
        published = stubs.events.PublishEvent(request, metadata=agent.metadata)
        wanted = event_service_pb2.ListEventsRequest(event_type="architecture_defined", limit=1)
        (event,) = stubs.events.ListEvents(wanted, metadata=agent.metadata).events
        assert event.event_id == published.event_id
        assert json_format.MessageToDict(event.data) == body["data"]

    def test_the_type_in_the_path_fills_the_body(self, sidecar: SidecarProcess, agent: Agent) -> None:
        published = over_rest(sidecar, agent, "POST", "/api/events/my_type", 202, json={"topic": "testing"})
        assert published["published"] is True
        body = {"event_type": "other_type", "topic": "testing"}
        refused = over_rest(sidecar, agent, "POST", "/api/events/my_type", 400, json=body)
        assert refused["details"]["field"] == "event_type"

    def test_wait_times_out_as_documented(self, sidecar: SidecarProcess, agent: Agent) -> None:
        body = over_rest(sidecar, agent, "GET", "/api/events/wait/never?timeout=20", 200)
        assert_shape(body, shapes.WAITED)
        assert body["events"] == [] and body["next_cursor"] is None and body["timeout"] is True

    def test_wait_returns_events_after_since(self, sidecar: SidecarProcess, agent: Agent) -> None:
        ids = [
            over_rest(sidecar, agent, "POST", "/api/events/counted", 202, json={"data": {"n": n}})["event_id"]
            for n in range(3)
        ]
        body = over_rest(sidecar, agent, "GET", f"/api/events/wait/counted?timeout=1000&since={ids[0]}&limit=1", 200)
        assert_shape(body, shapes.WAITED)
        assert "timeout" not in body
        assert [event["event_id"] for event in body["events"]] == ids[1:2]
        assert body["more_available"] is True and body["next_cursor"] == ids[1]
        rest = over_rest(
            sidecar, agent, "GET", f"/api/events/wait/counted?timeout=1000&since={body['next_cursor']}", 200
        )
        assert [event["event_id"] for event in rest["events"]] == ids[2:]
        assert rest["more_available"] is False


class TestCache:
    def test_clear_one_issue(self, sidecar: SidecarProcess) -> None:
        agent = sidecar.agent(issue="issue-cache")
        nothing = over_rest(sidecar, sidecar.operator, "DELETE", "/api/cache/context/issue-cache", 404)
        assert_shape(nothing, shapes.ERROR)
        over_rest(sidecar, agent, "GET", "/api/context/issue-cache/python-specialist", 200)
        cleared = over_rest(sidecar, agent, "DELETE", "/api/cache/context/issue-cache", 200)
        assert_shape(cleared, shapes.CLEARED)
        assert cleared["entries_removed"] == 1 and cleared["bytes_freed"] > 1000

    def test_only_the_operator_clears_everything(self, sidecar: SidecarProcess, agent: Agent) -> None:
        over_rest(sidecar, agent, "DELETE", "/api/cache/all", 403)
        over_rest(sidecar, agent, "GET", f"/api/context/{agent.issue}/{agent.type}", 200)
        cleared = over_rest(sidecar, sidecar.operator, "DELETE", "/api/cache/all", 200)
        assert_shape(cleared, shapes.CLEARED)
        after = over_rest(sidecar, agent, "GET", f"/api/context/{agent.issue}/{agent.type}", 200)
        assert after["cache_hit"] is False


class TestSystem:
    def test_health(self, sidecar: SidecarProcess, stubs: Any) -> None:
        answer = sidecar.request("GET", "/health")
        assert answer.status_code == 200
        assert_shape(answer.json(), shapes.HEALTH)
        assert answer.json()["status"] == "healthy"
        assert stubs.system.GetHealth(system_service_pb2.GetHealthRequest()).service == "orchestration-sidecar"

    def test_status_is_measured(self, sidecar: SidecarProcess, agent: Agent, stubs: Any) -> None:
        before = sidecar.request("GET", "/status").json()
        assert_shape(before, shapes.STATUS)
        over_rest(sidecar, agent, "POST", "/api/events/measured", 202, json={})
        over_rest(sidecar, agent, "POST", "/api/results", 201, json=create_body(agent, {"status": "failed"}))
        after = codec.to_dict(stubs.system.GetStatus(system_service_pb2.GetStatusRequest()))
        assert after["events"]["total_published"] == before["events"]["total_published"] + 2
        assert after["storage"]["results_failed"] == before["storage"]["results_failed"] + 1
        assert after["performance"]["p99_response_time_ms"] > 0

    def test_status_from_elsewhere_needs_a_token(self, sidecar: SidecarProcess, agent: Agent) -> None:
        proxied = {"X-Forwarded-For": "203.0.113.9"}
        assert sidecar.request("GET", "/status", headers=proxied).status_code == 401
        assert sidecar.request("GET", "/status", agent, headers=proxied).status_code == 200

    def test_health_probe_protocol(self, sidecar: SidecarProcess, grpc_channel: grpc.Channel) -> None:
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        stub = health_pb2_grpc.HealthStub(grpc_channel)
        for service in ("", "orchestra.v1.EventService", "orchestra.v1.ContextService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    def test_reflection_names_the_services(self, sidecar: SidecarProcess, grpc_channel: grpc.Channel) -> None:
        from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

        stub = reflection_pb2_grpc.ServerReflectionStub(grpc_channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = stub.ServerReflectionInfo(asked)
        names = {service.name for service in answer.list_services_response.service}
        assert {"orchestra.v1.EventService", "orchestra.v1.ResultService", "grpc.health.v1.Health"} <= names

    @pytest.mark.parametrize("version", ["v1", "v1alpha"])
    def test_reflection_finds_services_methods_and_fields(self, grpc_channel: grpc.Channel, version: str) -> None:
        from grpc_reflection.v1alpha import reflection_pb2

        converse = grpc_channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        service = "orchestra.v1.EventService"
        known = [
            service,
            f"{service}.PublishEvent",
            "orchestra.v1.Event.event_id",
            "grpc.reflection.v1.ServiceResponse",
        ]
        unknown = [f"{service}.Publish", "orchestra.v1.Event.id", "orchestra.v1.Nothing", "nothing", ""]
        asked = iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in known + unknown])
        told = [answer.WhichOneof("message_response") for answer in converse(asked)]
        assert told == ["file_descriptor_response"] * len(known) + ["error_response"] * len(unknown)
