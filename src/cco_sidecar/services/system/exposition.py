"""The metrics as Prometheus reads them (https://prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from cco_sidecar import __version__
from cco_sidecar.bus.base import Counters
from cco_sidecar.core import codec
from cco_sidecar.core.metrics import Histogram, Metrics
from cco_sidecar.storage.base import TypeTotals
from orchestra.v1.agent_service_pb2 import AgentStatus


class Sizes(NamedTuple):
    """What is counted where it is used, at the time of the scrape. Sizes are in bytes."""

    active_agents: int
    queued_agents: int
    subscriptions: int
    event_queue: int
    outbox: int
    storage: int
    disk_free: int
    memory: int
    uptime_seconds: float
    cached_contexts: int
    # When the TLS certificate expires, in seconds since 1970; None without TLS.
    certificate_expires: float | None


def families(metrics: Metrics, events: Counters, agents: Sequence[TypeTotals], sizes: Sizes) -> Iterator[Metric]:
    """Yields all metrics. Counters of calls, events and the cache start at 0 with the process; those of agents are read
    from the records."""
    yield InfoMetricFamily("sidecar_build", "Version of the sidecar.", value={"version": __version__})
    yield from _calls(metrics)
    yield from _events(events, sizes)
    yield from _agents(agents, sizes)
    cache = metrics.cache
    yield _counter("sidecar_cache_hits", "Contexts that were answered from the cache.", cache.hits)
    yield _counter("sidecar_cache_misses", "Contexts that had to be built.", cache.misses)
    yield _gauge("sidecar_cached_contexts", "Contexts in the cache.", sizes.cached_contexts)
    yield _gauge("sidecar_storage_bytes", "Size of the storage directory.", sizes.storage)
    yield _gauge("sidecar_disk_free_bytes", "Free space on the disk of the storage directory.", sizes.disk_free)
    yield _gauge("sidecar_memory_bytes", "Resident memory of the process.", sizes.memory)
    yield _gauge("sidecar_uptime_seconds", "Seconds since the process started.", sizes.uptime_seconds)
    if sizes.certificate_expires is not None:
        name, text = "sidecar_tls_certificate_expiry_timestamp_seconds", "When the TLS certificate expires."
        yield _gauge(name, text, sizes.certificate_expires)
    lag = HistogramMetricFamily("sidecar_event_loop_lag_seconds", "How late the event loop ran, 20 times a second.")
    _add(lag, [], metrics.loop_lag)
    yield lag


def _calls(metrics: Metrics) -> Iterator[Metric]:
    requests = CounterMetricFamily("sidecar_requests", "Calls that have ended, by gRPC status.", labels=["rpc", "code"])
    # A counter that begins above 0 hides its first increase from Prometheus.
    known = {(path, "INTERNAL"): 0 for path, _ in metrics.ended} | metrics.ended
    for (path, code), count in sorted(known.items()):
        requests.add_metric([_rpc(path), code], count)
    yield requests
    seconds = HistogramMetricFamily(
        "sidecar_request_duration_seconds",
        "Duration of unary calls, without long polls and streams.",
        labels=["rpc"],
    )
    for path, histogram in sorted(metrics.seconds.items()):
        _add(seconds, [_rpc(path)], histogram)
    yield seconds
    streams = GaugeMetricFamily("sidecar_open_streams", "Open long polls and streams.", labels=["rpc"])
    for path, count in sorted(metrics.open.items()):
        streams.add_metric([_rpc(path)], count)
    yield streams


def _events(events: Counters, sizes: Sizes) -> Iterator[Metric]:
    yield _counter("sidecar_events_published", "Events that are on disk.", events.published)
    yield _counter("sidecar_events_delivered", "Events handed to subscribers, once for each.", events.delivered)
    yield _gauge("sidecar_event_subscriptions", "Open subscriptions.", sizes.subscriptions)
    yield _gauge("sidecar_event_queue_depth", "Events that wait to be written.", sizes.event_queue)
    yield _gauge("sidecar_outbox_depth", "Announcements that wait to be published.", sizes.outbox)
    syncs = HistogramMetricFamily("sidecar_event_log_sync_seconds", "Time to force a batch of events to the disk.")
    _add(syncs, [], events.syncs)
    yield syncs


def _agents(totals: Sequence[TypeTotals], sizes: Sizes) -> Iterator[Metric]:
    yield _gauge("sidecar_active_agents", "Agents that occupy a slot.", sizes.active_agents)
    yield _gauge("sidecar_queued_agents", "Agents that wait for a slot.", sizes.queued_agents)
    names = [codec.enum_name(AgentStatus.DESCRIPTOR, status) for status in AgentStatus.values()[1:]]
    by_status = Counter({(each.agent_type, name): 0 for each in totals for name in names})
    tokens, costs = defaultdict[str, float](float), defaultdict[str, float](float)
    for each in totals:
        by_status[each.agent_type, codec.enum_name(AgentStatus.DESCRIPTOR, each.status)] += each.agents
        tokens[each.agent_type] += each.tokens
        costs[each.agent_type] += each.cost_usd
    statuses = GaugeMetricFamily("sidecar_agents", "Recorded agents by status.", labels=["agent_type", "status"])
    for (agent_type, status), count in sorted(by_status.items()):
        statuses.add_metric([agent_type, status], count)
    yield statuses
    yield _by_type("sidecar_agent_tokens", "Tokens that agents report to have used.", tokens)
    yield _by_type("sidecar_agent_cost_usd", "Cost that agents report, in US dollars.", costs)


def _by_type(name: str, text: str, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=["agent_type"])
    for agent_type, value in sorted(values.items()):
        family.add_metric([agent_type], value)
    return family


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    counts, total = list(histogram.counts), histogram.total
    cumulated = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), counts, strict=True):
        cumulated += count
        buckets.append((bound, cumulated))
    family.add_metric(labels, buckets, total)


def _rpc(path: str) -> str:
    """Returns `EventService/PublishEvent` for `/orchestra.v1.EventService/PublishEvent`."""
    return path.rpartition(".")[2]


class Registry:
    """What prometheus_client writes out: it only asks for ``collect``."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
