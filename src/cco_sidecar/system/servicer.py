"""SystemService: every figure is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cco_sidecar import __version__
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.bus.bus import EventBus
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.metrics import CallMetrics
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import AgentStore, ResultStore
from cco_sidecar.system.vitals import Vitals
from orchestra.v1 import system_service_pb2 as pb

SERVICE_NAME = "orchestration-sidecar"
# Below this, results and events may soon not be written.
LOW_DISK_MB = 100


class CacheFigures(NamedTuple):
    entries: int
    hit_rate: float


class RecordsHealth(Protocol):
    async def damage(self) -> str:
        """What is wrong with the records; empty when nothing is."""
        ...


class SystemServicer:
    def __init__(
        self,
        vitals: Vitals,
        bus: EventBus,
        records: RecordsHealth,
        store: ResultStore,
        agents: AgentStore,
        tokens: Tokens,
        metrics: CallMetrics,
        clock: Clock,
        storage: Path,
        cache: Callable[[], CacheFigures],
        unpublished: Callable[[], int],
        running: Callable[[], Mapping[str, str]],
        prove: Callable[[str], pb.ProveIdentityResponse],
        problems: Callable[[], Sequence[str]],
    ) -> None:
        """``running``: ids and types of the agents whose processes run; ``prove(nonce)``: who this server is;
        ``problems``: what is wrong with the configuration."""
        self._records = records
        self._agents = agents
        self._prove = prove
        self._problems = problems
        self._vitals = vitals
        self._bus = bus
        self._store = store
        self._tokens = tokens
        self._metrics = metrics
        self._clock = clock
        self._storage = storage
        self._cache = cache
        self._unpublished = unpublished
        self._running = running

    def _active(self) -> Counter[str]:
        """Agents whose processes run, by type."""
        return Counter(self._running().values())

    async def GetHealth(self, request: pb.GetHealthRequest, principal: Principal) -> pb.GetHealthResponse:
        await self._bus.look_again()
        figures = self._vitals.figures()
        storage = bus = pb.HEALTH_STATUS_HEALTHY
        if await self._records.damage() or not self._vitals.storage_writable():
            storage = pb.HEALTH_STATUS_UNHEALTHY
        elif figures.disk_free_mb < LOW_DISK_MB:
            storage = pb.HEALTH_STATUS_DEGRADED
        if self._bus.failing or self._bus.draining:
            bus = pb.HEALTH_STATUS_UNHEALTHY
        return pb.GetHealthResponse(
            status=max(storage, bus),
            service=SERVICE_NAME,
            version=__version__,
            uptime_seconds=self._vitals.uptime_seconds,
            checks=pb.HealthChecks(
                storage=storage,
                event_bus=bus,
                memory_usage_mb=figures.memory_mb,
                cpu_usage_percent=figures.cpu_percent,
                active_agents=self._active().total(),
                event_queue_size=self._bus.queue_depth,
                disk_space_available_mb=figures.disk_free_mb,
            ),
            timestamp=self._clock.timestamp(),
        )

    async def GetStatus(self, request: pb.GetStatusRequest, principal: Principal) -> pb.GetStatusResponse:
        totals = await self._store.totals()
        runs = await self._agents.totals()
        damage = await self._records.damage()
        active = self._active()
        cache = self._cache()
        counters = self._bus.counters
        mean_delivery = counters.delivery_seconds / counters.deliveries if counters.deliveries else 0.0
        performance = self._metrics.performance()
        return pb.GetStatusResponse(
            agents=pb.AgentsStatus(
                active=active.total(),
                completed=runs.completed,
                failed=runs.failed,
                stopped=runs.stopped,
                spawned_total=runs.spawned,
                tokens_issued=self._tokens.minted,
                by_type=active,
                avg_execution_time_ms=round(totals.mean_execution_ms, 3),
            ),
            storage=pb.StorageStatus(
                context_cache_entries=cache.entries,
                results_stored=totals.succeeded + totals.failed,
                total_size_mb=await self._vitals.storage_mb(),
                cache_hit_rate=round(cache.hit_rate, 4),
                storage_path=str(self._storage),
                results_failed=totals.failed,
                problems=[*([f"the database is damaged: {damage}"] if damage else []), *self._problems()],
            ),
            events=pb.EventsStatus(
                total_published=counters.published,
                total_delivered=counters.delivered,
                active_subscriptions=self._bus.subscriptions,
                queue_depth=self._bus.queue_depth,
                avg_delivery_time_ms=round(mean_delivery * 1000, 3),
                dead_letter_queue_size=self._unpublished(),
            ),
            performance=pb.PerformanceStatus(
                avg_response_time_ms=round(performance.mean, 3),
                p95_response_time_ms=round(performance.p95, 3),
                p99_response_time_ms=round(performance.p99, 3),
                requests_per_second=round(performance.per_second, 3),
                errors_per_minute=round(performance.errors_per_minute, 3),
            ),
            timestamp=self._clock.timestamp(),
        )

    async def ProveIdentity(self, request: pb.ProveIdentityRequest, principal: Principal) -> pb.ProveIdentityResponse:
        return self._prove(request.nonce)
