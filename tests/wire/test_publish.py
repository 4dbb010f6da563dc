"""Publishing with idempotency keys and conditions, over both transports."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tests.support.sidecars import fresh

from cco_sidecar.client import Client, ConflictError
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.event_service_pb2 import PublishEventRequest


def publish(sidecar: SidecarProcess, agent: Any, **body: Any) -> Any:
    return sidecar.request("POST", "/api/events/built", agent, json={"data": {"n": 1}} | body)


def test_a_repeated_publish_is_answered_with_the_first_event(sidecar: SidecarProcess) -> None:
    agent, other = (sidecar.agent(project=fresh("p")) for _ in range(2))
    first, second = (publish(sidecar, agent, idempotency_key="k") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert "duplicate" not in first.json() and second.json()["duplicate"] is True
    assert second.json()["event_id"] == first.json()["event_id"]
    assert second.json()["timestamp"] == first.json()["timestamp"]
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        assert client.events.publish("built", {"n": 1}, idempotency_key="k").event_id == first.json()["event_id"]
        assert [event.event_id for event in client.events.list().events] == [first.json()["event_id"]]
    assert "duplicate" not in publish(sidecar, other, idempotency_key="k").json()


def test_a_key_for_another_event_is_a_conflict(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent(project=fresh("p"))
    publish(sidecar, agent, idempotency_key="k")
    refused = publish(sidecar, agent, idempotency_key="k", data={"n": 2})
    assert (refused.status_code, refused.json()["code"]) == (409, "EVT_003")
    assert refused.json()["details"]["idempotency_key"] == "k"
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        with pytest.raises(ConflictError, match="was used for another event") as problem:
            client.events.publish("built", {"n": 2}, idempotency_key="k")
        assert problem.value.code == "EVT_003"


def test_of_two_that_claim_a_topic_one_wins(sidecar: SidecarProcess) -> None:
    project = fresh("p")
    one, two = sidecar.agent(project=project), sidecar.agent(project=project)
    won = publish(sidecar, one, topic="task-7", expected_last_event_id="0")
    lost = publish(sidecar, two, topic="task-7", expected_last_event_id="0")
    assert (won.status_code, lost.status_code) == (202, 409)
    assert lost.json()["details"]["last_event_id"] == won.json()["event_id"]
    after = publish(sidecar, two, topic="task-7", expected_last_event_id=won.json()["event_id"])
    assert after.status_code == 202


def test_a_condition_that_is_no_event_id_is_refused(sidecar: SidecarProcess) -> None:
    refused = publish(sidecar, sidecar.agent(), expected_last_event_id="7")
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, "expected_last_event_id")


def test_grpc_says_failed_precondition(sidecar: SidecarProcess, stubs: Any) -> None:
    agent = sidecar.agent(project=fresh("p"))
    request = PublishEventRequest(event_type="x", topic="t", expected_last_event_id="0")
    stubs.events.PublishEvent(request, metadata=agent.metadata)
    with pytest.raises(grpc.RpcError) as refused:
        stubs.events.PublishEvent(request, metadata=agent.metadata)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
