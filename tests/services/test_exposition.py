"""What Prometheus reads: the documented names, and figures that agree with what happened."""

from __future__ import annotations

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from tests.support.sidecars import Deployment, call, publish, until

from cco_sidecar.bus.base import Counters
from cco_sidecar.core.metrics import Histogram, Metrics
from cco_sidecar.services.system import exposition
from cco_sidecar.storage.base import TypeTotals
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_COMPLETED, AGENT_STATUS_FAILED, AGENT_STATUS_RUNNING

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


def test_each_figure_has_its_name() -> None:
    metrics = Metrics()
    for hit in [True] * 21 + [False] * 22:
        metrics.cache.looked_up(hit=hit)
    metrics.record("/orchestra.v1.EventService/PublishEvent", "OK", 0.5, failed=False)
    counters = Counters(published=23, delivered=24, syncs=Histogram((1.0,)))
    agents = [
        TypeTotals("python-specialist", AGENT_STATUS_FAILED, 3, 31.0, 32.0),
        TypeTotals("python-specialist", AGENT_STATUS_COMPLETED, 4, 0.5, 0.25),
        TypeTotals("test-engineer", AGENT_STATUS_RUNNING, 5, 33.0, 34.0),
    ]
    sizes = exposition.Sizes(*range(1, 11), certificate_expires=11.0)  # type: ignore[arg-type]
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in exposition.families(metrics, counters, agents, sizes)
        for sample in family.samples
    }
    assert {name: found[name,] for name, *labels in found if not labels and "loop_lag" not in name} == {
        "sidecar_active_agents": 1,
        "sidecar_queued_agents": 2,
        "sidecar_event_subscriptions": 3,
        "sidecar_event_queue_depth": 4,
        "sidecar_outbox_depth": 5,
        "sidecar_storage_bytes": 6,
        "sidecar_disk_free_bytes": 7,
        "sidecar_memory_bytes": 8,
        "sidecar_uptime_seconds": 9,
        "sidecar_cached_contexts": 10,
        "sidecar_tls_certificate_expiry_timestamp_seconds": 11,
        "sidecar_cache_hits_total": 21,
        "sidecar_cache_misses_total": 22,
        "sidecar_events_published_total": 23,
        "sidecar_events_delivered_total": 24,
        "sidecar_event_log_sync_seconds_count": 0,
        "sidecar_event_log_sync_seconds_sum": 0,
    }
    assert found["sidecar_agents", "python-specialist", "failed"] == 3
    assert found["sidecar_agents", "python-specialist", "completed"] == 4
    assert found["sidecar_agents", "test-engineer", "running"] == 5
    # What has not happened yet is 0, so that its first time is an increase.
    assert found["sidecar_agents", "test-engineer", "failed"] == 0
    assert found["sidecar_requests_total", "EventService/PublishEvent", "INTERNAL"] == 0
    assert found["sidecar_requests_total", "EventService/PublishEvent", "OK"] == 1
    assert found["sidecar_agent_tokens_total", "python-specialist"] == 31.5
    assert found["sidecar_agent_cost_usd_total", "python-specialist"] == 32.25
    assert found["sidecar_agent_cost_usd_total", "test-engineer"] == 34


def test_without_tls_no_certificate_expires() -> None:
    sizes = exposition.Sizes(*[0] * 10, certificate_expires=None)
    names = {family.name for family in exposition.families(Metrics(), Counters(), [], sizes)}
    assert not any("tls" in name for name in names)


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
