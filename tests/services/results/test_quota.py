"""How much a project may store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.sidecars import call, serving, small_repository, written

from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import result_service_pb2, result_service_pb2_grpc

HALF_MB = "x" * (512 * 1024)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[SidecarProcess]:
    config = written(tmp_path / "config.json", results={"quota_mb": 1})
    with serving(tmp_path, small_repository(tmp_path / "root"), config=config) as running:
        yield running


def store(sidecar: SidecarProcess, agent: Agent, text: str) -> Any:
    body = {"agent_type": agent.type, "issue_id": agent.issue, "result": {"status": "success", "decisions": [text]}}
    return sidecar.request("POST", "/api/results", agent, json=body)


def test_a_full_project_is_refused_clearly_and_others_are_not(sidecar: SidecarProcess) -> None:
    agent, other = sidecar.agent(project="mine"), sidecar.agent(project="theirs")
    assert store(sidecar, agent, HALF_MB).status_code == 201
    refused = store(sidecar, agent, HALF_MB)
    assert refused.status_code == 429 and refused.json()["code"] == "STR_003"
    assert "quota of 1 MB" in refused.json()["message"] and "results.quota_mb" in refused.json()["message"]
    assert store(sidecar, agent, "small").status_code == 201, "a result that fits is still accepted"
    assert store(sidecar, other, HALF_MB).status_code == 201
    listed = call(sidecar, "GET", "/api/results?project_id=mine")["results"]
    assert len(listed) == 2, "nothing acknowledged is lost, and nothing refused is kept"


def test_the_quota_over_grpc(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent(project="mine")
    assert store(sidecar, agent, HALF_MB).status_code == 201
    request = result_service_pb2.CreateResultRequest(result={"status": "RESULT_STATUS_SUCCESS", "decisions": [HALF_MB]})
    with grpc.insecure_channel(sidecar.target) as channel:
        stub = result_service_pb2_grpc.ResultServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            stub.CreateResult(request, metadata=agent.metadata)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "quota of 1 MB" in refusal.value.details()


def test_a_single_result_has_its_own_limit(sidecar: SidecarProcess) -> None:
    refused = store(sidecar, sidecar.agent(), "x" * (2 * 2**20))
    assert (refused.status_code, refused.json()["code"]) == (413, "REQ_004")
