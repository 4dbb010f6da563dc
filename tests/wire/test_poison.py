"""One caller's input must not break anything for the next caller, or for the next start."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.protobuf import struct_pb2, timestamp_pb2

from cco_sidecar.client.errors import error_of
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import event_service_pb2, result_service_pb2


def refused(call: Any, request: Any, agent: Agent) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, metadata=agent.metadata)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return error_of(caught.value).code


def test_times_numbers_and_depth_are_checked_on_grpc_too(stubs: Any, agent: Agent) -> None:
    def result(**work: Any) -> result_service_pb2.CreateResultRequest:
        made = result_service_pb2.AgentResult(status=1, **work)
        return result_service_pb2.CreateResultRequest(agent_type=agent.type, issue_id=agent.issue, result=made)

    late = result()
    late.timestamp.CopyFrom(timestamp_pb2.Timestamp(seconds=10**13))
    unknown = result()
    unknown.result.status = 99  # type: ignore[assignment]
    empty = result(files_created=[result_service_pb2.FileEntry()])
    for request in (late, unknown, empty, result(metrics={"m": float("nan")})):
        assert refused(stubs.results.CreateResult, request, agent) == "REQ_001"
    value = struct_pb2.Value(string_value="deep")
    for _ in range(40):
        value = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[value]))
    deep = event_service_pb2.PublishEventRequest(event_type="x", data=struct_pb2.Struct(fields={"v": value}))
    assert refused(stubs.events.PublishEvent, deep, agent) == "REQ_001"


def test_a_long_filter_error_fits_into_metadata(stubs: Any, agent: Agent) -> None:
    for text in ("a" * 2048, "é" * 2000, "\0" * 2000):
        assert refused(stubs.events.WaitEvents, event_service_pb2.WaitEventsRequest(filter=text), agent) == "EVT_002"


def test_a_batch_is_published_whole_or_not_at_all(stubs: Any, sidecar: SidecarProcess) -> None:
    agent = sidecar.agent("chief-architect", project="poison-batch")
    good = event_service_pb2.PublishEventRequest(event_type="good")
    large = event_service_pb2.PublishEventRequest(event_type="large")
    large.data.update({"text": "x" * 300_000})
    elsewhere = event_service_pb2.PublishEventRequest(event_type="x", project_id="other")
    for bad in (large, elsewhere):
        batch = event_service_pb2.PublishEventsRequest(events=[good, bad])
        with pytest.raises(grpc.RpcError):
            list(stubs.events.PublishEvents(iter([batch]), metadata=agent.metadata))
    assert sidecar.request("GET", "/api/events?since=0", agent).json()["events"] == []


def test_concurrent_results_of_one_key(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent("chief-architect", issue="issue-race", project="poison-race")
    statuses: list[int] = []

    def store(number: int) -> None:
        result = {"status": "success", "decisions": [str(number)], "artifacts": {"text": "x" * 100_000}}
        body = {"agent_type": agent.type, "issue_id": agent.issue, "result": result}
        answers = (sidecar.request("POST", "/api/results", agent, json=body) for _ in range(5))
        statuses.extend(answer.status_code for answer in answers)

    threads = [threading.Thread(target=store, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 40
    newest = sidecar.request("GET", "/api/results/issue-race/chief-architect", agent).json()
    path = sidecar.storage / "results" / agent.project / agent.issue / "chief-architect.json"
    assert json.loads(path.read_text()) == newest


def test_no_body_is_read_before_the_caller_is_known(sidecar: SidecarProcess) -> None:
    answer = requests.post(
        f"{sidecar.url}/api/results", data=b"{bad", headers={"Content-Type": "application/json"}, timeout=5
    )
    assert answer.status_code == 401
    agent = sidecar.agent()
    bad = sidecar.request("POST", "/api/results", agent, data=b"{bad", headers={"Content-Type": "application/json"})
    assert bad.status_code == 400 and bad.headers["x-ratelimit-remaining"] == "69"


def test_a_cached_context_names_each_key_once(sidecar: SidecarProcess, agent: Agent) -> None:
    for _ in range(2):
        text = sidecar.request("GET", f"/api/context/{agent.issue}/{agent.type}", agent).text
    names = [key for key, _ in json.loads(text, object_pairs_hook=list)]
    assert len(names) == len(set(names)) and "cache_hit" in names


def test_head_of_a_stream_is_refused(sidecar: SidecarProcess, agent: Agent) -> None:
    for path in ("/api/events/stream", "/api/events/wait/x"):
        assert sidecar.request("HEAD", path, agent).status_code == 405


def test_the_operator_cannot_be_locked_out(sidecar: SidecarProcess) -> None:
    answer = sidecar.request("POST", "/api/tokens/revoke", sidecar.operator, json={"agent_id": "operator"})
    assert answer.status_code == 403
    assert sidecar.request("GET", "/api/events", sidecar.operator).status_code == 200


def test_a_token_made_just_after_a_revocation_is_valid(sidecar: SidecarProcess) -> None:
    sidecar.request("POST", "/api/tokens/revoke", sidecar.operator, json={"agent_id": "agent-7"})
    agent = sidecar.agent(agent_id="agent-7")
    assert sidecar.request("GET", "/api/events", agent).status_code == 200


def test_an_unwritable_file_does_not_stop_a_start(tmp_path: Path, repository: Path) -> None:
    sidecar = SidecarProcess(tmp_path / "storage", repository)
    agent = sidecar.agent()
    blocked = sidecar.storage / "results" / agent.project / agent.issue / f"{agent.type}.json"
    (blocked / "in-the-way").mkdir(parents=True)
    body = {"agent_type": agent.type, "issue_id": agent.issue, "result": {"status": "success"}}
    stored = sidecar.request("POST", "/api/results", agent, json=body)
    assert stored.status_code == 201 and stored.json()["event_published"] is True
    sidecar.kill()
    sidecar = SidecarProcess(tmp_path / "storage", repository)
    assert sidecar.request("GET", f"/api/results/{stored.json()['id']}", agent).status_code == 200
    assert sidecar.request("GET", "/status").json()["events"]["dead_letter_queue_size"] == 1
    events = sidecar.request("GET", "/api/events?event_type=agent_completed", agent).json()["events"]
    assert len(events) == 1
    assert sidecar.stop() == ""


def test_a_missing_storage_is_unhealthy(tmp_path: Path, repository: Path) -> None:
    sidecar = SidecarProcess(tmp_path / "storage", repository)
    (tmp_path / "storage").rename(tmp_path / "gone")
    answer = sidecar.request("GET", "/health")
    assert answer.status_code == 503 and answer.json()["checks"]["storage"] == "unhealthy"
    (tmp_path / "gone").rename(tmp_path / "storage")
    assert sidecar.request("GET", "/health").status_code == 200
    assert sidecar.stop() == ""
