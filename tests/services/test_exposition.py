"""What Prometheus reads: the documented names, and figures that agree with what happened."""

from __future__ import annotations

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from tests.support.sidecars import Deployment, call, publish, until

from cco_sidecar.core.metrics import Histogram
from cco_sidecar.testing.process import SidecarProcess

DOCUMENTED = {
    "sidecar_requests_total",
    "sidecar_request_duration_seconds_bucket",
    "sidecar_active_agents",
    "sidecar_events_published_total",
    "sidecar_cache_hits_total",
    "sidecar_cache_misses_total",
    "sidecar_storage_bytes",
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(sidecar: SidecarProcess) -> Samples:
    answer = sidecar.request("GET", "/metrics", sidecar.operator)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


def test_the_documented_names_are_there(sidecar: SidecarProcess) -> None:
    call(sidecar, "GET", "/api/agents")
    assert {name for name, _ in scraped(sidecar)} >= DOCUMENTED


def test_calls_are_counted_by_rpc_and_code(deployment: Deployment) -> None:
    sidecar = deployment.start()
    for _ in range(3):
        call(sidecar, "GET", "/api/agents")
    assert sidecar.request("GET", "/api/agents").status_code == 401
    assert sidecar.request("GET", "/api/agents/nobody", sidecar.operator).status_code == 404
    found = scraped(sidecar)
    assert value(found, "sidecar_requests_total", rpc="AgentService/ListAgents", code="OK") == 3
    assert value(found, "sidecar_requests_total", rpc="AgentService/ListAgents", code="UNAUTHENTICATED") == 1
    assert value(found, "sidecar_requests_total", rpc="AgentService/GetAgent", code="NOT_FOUND") == 1
    assert value(found, "sidecar_request_duration_seconds_count", rpc="AgentService/ListAgents") == 4
    last = value(found, "sidecar_request_duration_seconds_bucket", rpc="AgentService/ListAgents", le="+Inf")
    assert last == 4


def test_events_streams_and_the_disk_are_counted(deployment: Deployment) -> None:
    sidecar = deployment.start()
    with requests.get(
        f"{sidecar.url}/api/events/stream", headers=sidecar.operator.headers, stream=True, timeout=30
    ) as streamed:
        assert streamed.status_code == 200
        for _ in range(4):
            publish(sidecar, "default", "tests_passing")
        found = scraped(sidecar)
        assert value(found, "sidecar_events_published_total") == 4
        assert value(found, "sidecar_open_streams", rpc="EventService/Subscribe") == 1
        assert value(found, "sidecar_event_subscriptions") == 1
        assert 1 <= value(found, "sidecar_event_log_sync_seconds_count") <= 4
        until(lambda: value(scraped(sidecar), "sidecar_events_delivered_total") == 4, "the delivery of all")
    until(
        lambda: not value(scraped(sidecar), "sidecar_open_streams", rpc="EventService/Subscribe"), "the stream to end"
    )
    until(lambda: value(scraped(sidecar), "sidecar_event_loop_lag_seconds_count"), "the loop to be measured")
    assert value(scraped(sidecar), "sidecar_storage_bytes") > 1000


def test_agents_are_counted_by_type_and_how_they_ended(deployment: Deployment) -> None:
    sidecar = deployment.start()
    for command in (["true"], ["false"], ["true"]):
        body = {"agent_type": "python-specialist", "issue_id": "issue-1", "task": "end", "command": command}
        call(sidecar, "POST", "/api/agents/spawn", json=body)
    kinds = {"agent_type": "python-specialist"}
    until(lambda: value(scraped(sidecar), "sidecar_agents", status="completed", **kinds) == 2, "two to complete")
    until(lambda: value(scraped(sidecar), "sidecar_active_agents") == 0, "all to end")
    assert value(scraped(sidecar), "sidecar_agents", status="failed", **kinds) == 1


def test_the_cache_is_counted(sidecar: SidecarProcess) -> None:
    agent = sidecar.agent(issue="issue-of-the-cache")
    before = scraped(sidecar)
    for _ in range(2):
        call(sidecar, "GET", "/api/context/issue-of-the-cache/python-specialist", agent)
    after = scraped(sidecar)
    grown = [
        value(after, f"sidecar_cache_{which}_total") - value(before, f"sidecar_cache_{which}_total")
        for which in ("hits", "misses")
    ]
    assert grown == [1, 1]


def test_without_a_token_only_this_machine_may_ask(sidecar: SidecarProcess) -> None:
    assert requests.get(f"{sidecar.url}/metrics", timeout=10).status_code == 200
    through_a_proxy = {"X-Forwarded-For": "192.0.2.1"}
    assert requests.get(f"{sidecar.url}/metrics", headers=through_a_proxy, timeout=10).status_code == 401


@pytest.mark.parametrize(("value", "place"), [(0.0, 0), (0.1, 0), (0.11, 1), (1.0, 1), (7.0, 2)])
def test_a_value_counts_below_its_upper_bound(value: float, place: int) -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.observe(value)
    assert histogram.counts == [int(place == index) for index in range(3)] and histogram.total == value
