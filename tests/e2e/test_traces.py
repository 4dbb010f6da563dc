"""One agent's cycle, from spawn to hand-over, as one tree of spans; and contexts that travel on without a collector."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import websockets.sync.client
from tests.support.collector import Collected, attributes, collector
from tests.support.sidecars import Deployment, call, until, written

from cco_sidecar.client import Client
from cco_sidecar.core.tracing import TraceContext
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import event_service_pb2, event_service_pb2_grpc

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"
STATE = "vendor=opaque"

AGENT = """
from cco_sidecar.client import Client
with Client() as client:
    client.context.get()
    client.events.publish("tests_passing", {"count": 12}, topic="testing")
    client.results.create({"status": "success", "decisions": ["done"]})
"""
# What the second agent of the hand-over runs.
NEXT = "import os; print(os.environ['TRACEPARENT'])"


@pytest.fixture
def collected() -> Iterator[Collected]:
    with collector() as started:
        yield started


def _config(directory: Path, collected: Collected | None, **more: Any) -> Path:
    telemetry = {"otlp_endpoint": collected.url} | more if collected else {}
    agents = {
        "runners": {
            "python-specialist": {"command": [sys.executable, "-c", AGENT]},
            "test-engineer": {"command": [sys.executable, "-c", NEXT]},
        },
        "handover": {
            "mode": "automatic",
            "rules": [
                {
                    "name": "test it",
                    "when": {"event_type": "agent_completed", "filter": "agent_type:python-specialist"},
                    "do": "spawn",
                    "agent_type": "test-engineer",
                    "task": "Test it",
                }
            ],
        },
    }
    return written(directory / "config.json", telemetry=telemetry, agents=agents)


def _spawn(sidecar: SidecarProcess) -> str:
    body = {"agent_type": "python-specialist", "issue_id": "issue-1", "task": "Do it"}
    headers = sidecar.operator.headers | {"traceparent": CALLER, "tracestate": STATE}
    answer = sidecar.request("POST", "/api/agents/spawn", headers=headers, json=body)
    assert answer.status_code == 201, answer.text
    agent_id: str = answer.json()["agent_id"]
    return agent_id


def test_a_cycle_from_spawn_to_hand_over_is_one_tree(
    deployment: Deployment, collected: Collected, tmp_path: Path
) -> None:
    sidecar = deployment.start(config=_config(tmp_path, collected))
    first = _spawn(sidecar)
    until(lambda: collected.named("agent test-engineer"), "the second agent's span")
    spans = {span.span_id.hex(): span for span in collected.spans if span.trace_id.hex() == TRACE}
    parents = {
        span.name: spans[span.parent_span_id.hex()].name if span.parent_span_id.hex() in spans else "the caller"
        for span in spans.values()
    }
    agent = "agent python-specialist"
    service = "orchestra.v1."
    assert parents == {
        f"{service}AgentService/SpawnAgent": "the caller",
        agent: f"{service}AgentService/SpawnAgent",
        f"{service}ContextService/GetContext": agent,
        f"{service}EventService/PublishEvent": agent,
        f"{service}ResultService/CreateResult": agent,
        "agent test-engineer": f"{service}ResultService/CreateResult",
    }
    (run,) = collected.named(agent)
    told = attributes(run)
    assert (told["cco.agent_id"], told["cco.status"]) == (first, "completed")
    inside = spans[next(iter(collected.named(f"{service}ResultService/CreateResult"))).span_id.hex()]
    assert run.start_time_unix_nano <= inside.start_time_unix_nano < inside.end_time_unix_nano <= run.end_time_unix_nano
    assert all(span.trace_state == STATE for span in spans.values())


def test_an_event_carries_the_span_that_published_it(
    deployment: Deployment, collected: Collected, tmp_path: Path
) -> None:
    sidecar = deployment.start(config=_config(tmp_path, collected))
    for transport in (_over_rest, _over_grpc, _over_the_sdk, _in_a_batch):
        event_id = transport(sidecar)
        event = call(sidecar, "GET", f"/api/events/id/{event_id}")["event"]
        published = TraceContext.parse(event["traceparent"])
        assert published is not None and published.trace_id == TRACE
        spans = until(
            lambda span_id=published.span_id: [each for each in collected.spans if each.span_id.hex() == span_id],
            f"the span of {transport.__name__}",
        )
        assert [each.parent_span_id.hex() for each in spans] == [CALLER.split("-")[2]]


def _over_rest(sidecar: SidecarProcess) -> str:
    headers = sidecar.operator.headers | {"traceparent": CALLER}
    answer = sidecar.request("POST", "/api/events/tests_passing", headers=headers, json={"topic": "testing"})
    event_id: str = answer.json()["event_id"]
    return event_id


def _over_grpc(sidecar: SidecarProcess) -> str:
    with grpc.insecure_channel(sidecar.target) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        request = event_service_pb2.PublishEventRequest(event_type="tests_passing")
        metadata = [*sidecar.operator.metadata, ("traceparent", CALLER)]
        return stub.PublishEvent(request, metadata=metadata).event_id


def _over_the_sdk(sidecar: SidecarProcess) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRACEPARENT", CALLER)
        with Client(sidecar.url, grpc_target=sidecar.target, token=sidecar.operator.token) as client:
            return client.events.publish("tests_passing").event_id


def _in_a_batch(sidecar: SidecarProcess) -> str:
    headers = sidecar.operator.headers | {"traceparent": CALLER}
    answer = sidecar.request("POST", "/api/events:publish", headers=headers, json={"events": [{"event_type": "a"}]})
    event_id: str = json.loads(answer.text.splitlines()[0])["event_ids"][0]
    return event_id


def test_a_web_socket_joins_the_trace(deployment: Deployment, collected: Collected, tmp_path: Path) -> None:
    sidecar = deployment.start(config=_config(tmp_path, collected))
    headers = sidecar.operator.headers | {"traceparent": CALLER}
    url = f"ws://127.0.0.1:{sidecar.port}/api/events/stream"
    with websockets.sync.client.connect(url, additional_headers=headers) as connection:
        connection.recv(timeout=10)
    (span,) = until(lambda: collected.named("orchestra.v1.EventService/Subscribe"), "the span of the stream")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, CALLER.split("-")[2])


def test_without_a_collector_contexts_travel_on(deployment: Deployment, tmp_path: Path) -> None:
    sidecar = deployment.start(config=_config(tmp_path, None))
    _spawn(sidecar)

    def completed() -> list[Any]:
        listed = call(sidecar, "GET", "/api/events?event_type=agent_completed&limit=10")["events"]
        return [each for each in listed if each["data"]["agent_type"] == "test-engineer"]

    (last,) = until(completed, "the second agent to end")
    # No span of ours is between the caller and what follows.
    assert last["traceparent"] == CALLER and last["tracestate"] == STATE
    plain = call(sidecar, "POST", "/api/events/tests_passing", json={"topic": "testing"})
    assert "traceparent" not in call(sidecar, "GET", f"/api/events/id/{plain['event_id']}")["event"]


@pytest.mark.parametrize("given", ["", "garbage", CALLER.upper(), f"00-{'0' * 32}-b7ad6b7169203331-01"])
def test_an_invalid_context_begins_a_new_trace(
    deployment: Deployment, collected: Collected, tmp_path: Path, given: str
) -> None:
    sidecar = deployment.start(config=_config(tmp_path, collected))
    headers = sidecar.operator.headers | ({"traceparent": given} if given else {})
    assert sidecar.request("GET", "/api/agents", headers=headers).status_code == 200
    (span,) = until(lambda: collected.named("orchestra.v1.AgentService/ListAgents"), "the span")
    assert span.parent_span_id == b"" and span.trace_id.hex() != TRACE


def test_what_the_caller_does_not_sample_is_not_recorded(
    deployment: Deployment, collected: Collected, tmp_path: Path
) -> None:
    sidecar = deployment.start(config=_config(tmp_path, collected, sample_percent=0))
    for flags in ("00", "01"):
        headers = sidecar.operator.headers | {"traceparent": CALLER[:-2] + flags}
        assert sidecar.request("GET", "/api/agents", headers=headers).status_code == 200
    call(sidecar, "GET", "/api/results")
    deployment.stop()
    assert [span.name for span in collected.spans] == ["orchestra.v1.AgentService/ListAgents"]


def test_a_refused_call_is_no_error_of_the_server(deployment: Deployment, collected: Collected, tmp_path: Path) -> None:
    sidecar = deployment.start(config=_config(tmp_path, collected))
    answer = sidecar.request("GET", "/api/agents/nobody", sidecar.operator, headers={"x-request-id": "req-traced"})
    assert answer.status_code == 404
    (span,) = until(lambda: collected.named("orchestra.v1.AgentService/GetAgent"), "the span")
    told = attributes(span)
    assert (span.status.code, span.status.message) == (0, "")
    assert (told["rpc.grpc.status_code"], told["cco.request_id"]) == (5, "req-traced")
    (line,) = [
        json.loads(text)
        for text in (sidecar.storage / "logs" / "orchestration.log").read_text().splitlines()
        if "req-traced" in text
    ]
    assert line["trace_id"] == span.trace_id.hex()


def test_a_collector_that_is_gone_holds_nothing_up(deployment: Deployment, tmp_path: Path) -> None:
    gone = Collected("http://127.0.0.1:1")
    sidecar = deployment.start(config=_config(tmp_path, gone))
    for _ in range(20):
        call(sidecar, "GET", "/api/agents")
