"""SystemService: health and status. Every figure is measured."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from google.api.httpbody_pb2 import HttpBody
from prometheus_client import generate_latest

from cco_sidecar import __version__
from cco_sidecar.auth.identity_key import IdentityKey
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core import certificates
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.metrics import Metrics
from cco_sidecar.core.principal import Principal
from cco_sidecar.core.settings import Settings
from cco_sidecar.services.system import exposition
from cco_sidecar.services.system.doctor import Doctor
from cco_sidecar.services.system.vitals import Vitals
from cco_sidecar.storage.base import Stores
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1 import system_service_pb2 as pb

SERVICE_NAME = "orchestration-sidecar"
# Below this, writes of results and events may soon fail.
LOW_DISK_MB = 100
_MEGABYTE = 2**20
# Prometheus's text format, which every version of it reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class DatabaseHealth(Protocol):
    """Reports problems of the database."""

    async def problem(self) -> str:
        """Returns what is wrong with the database; empty if nothing is."""
        ...


class SystemServicer:
    """Implements orchestra.v1.SystemService. Errors are raised as SidecarError."""

    def __init__(
        self,
        settings: Settings,
        bus: EventBus,
        outbox: Outbox,
        database: DatabaseHealth,
        stores: Stores,
        supervisor: Supervisor,
        tokens: Tokens,
        types: AgentTypes,
        metrics: Metrics,
        clock: Clock,
        cluster: Cluster,
    ) -> None:
        """``settings`` must contain the ports in use. Raises SettingsError for an unusable identity key."""
        self._settings = settings
        self._identity_key = IdentityKey.of(settings.storage)
        self._vitals = Vitals(settings.storage)
        self._bus = bus
        self._outbox = outbox
        self._database = database
        self._results = stores.results
        self._agents = stores.agents
        self._supervisor = supervisor
        self._tokens = tokens
        self._types = types
        self._metrics = metrics
        self._cache = metrics.cache
        self._clock = clock
        self._cluster = cluster
        self._doctor = Doctor(settings, clock)

    async def GetHealth(self, request: pb.GetHealthRequest, principal: Principal) -> pb.GetHealthResponse:
        await self._bus.probe()
        figures = self._vitals.figures()
        storage = bus = pb.HEALTH_STATUS_HEALTHY
        if await self._database.problem() or not self._vitals.storage_writable():
            storage = pb.HEALTH_STATUS_UNHEALTHY
        elif figures.disk_free < LOW_DISK_MB * _MEGABYTE:
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
                memory_usage_mb=round(figures.memory / _MEGABYTE, 1),
                cpu_usage_percent=figures.cpu_percent,
                active_agents=self._supervisor.running,
                event_queue_size=self._bus.queue_depth,
                disk_space_available_mb=round(figures.disk_free / _MEGABYTE, 1),
            ),
            timestamp=self._clock.timestamp(),
        )

    async def GetStatus(self, request: pb.GetStatusRequest, principal: Principal) -> pb.GetStatusResponse:
        totals = await self._results.totals()
        runs = await self._agents.totals()
        problem = await self._database.problem()
        counters = self._bus.counters
        mean_delivery = counters.delivery_seconds / counters.deliveries if counters.deliveries else 0.0
        performance = self._metrics.performance()
        return pb.GetStatusResponse(
            agents=pb.AgentsStatus(
                active=self._supervisor.running,
                completed=runs.completed,
                failed=runs.failed,
                stopped=runs.stopped,
                spawned_total=runs.spawned,
                tokens_issued=self._tokens.minted,
                by_type=Counter(self._supervisor.running_types()),
                avg_execution_time_ms=round(totals.mean_execution_ms, 3),
            ),
            storage=pb.StorageStatus(
                context_cache_entries=self._cache.entries,
                results_stored=totals.succeeded + totals.failed,
                total_size_mb=round(await self._vitals.storage_bytes() / _MEGABYTE, 3),
                cache_hit_rate=round(self._cache.hit_rate, 4),
                storage_path=str(self._settings.storage),
                results_failed=totals.failed,
                problems=[*([problem] if problem else []), *self._types.problems],
            ),
            events=pb.EventsStatus(
                total_published=counters.published,
                total_delivered=counters.delivered,
                active_subscriptions=self._bus.subscriptions,
                queue_depth=self._bus.queue_depth,
                avg_delivery_time_ms=round(mean_delivery * 1000, 3),
                dead_letter_queue_size=self._outbox.waiting,
            ),
            performance=pb.PerformanceStatus(
                avg_response_time_ms=round(performance.mean, 3),
                p95_response_time_ms=round(performance.p95, 3),
                p99_response_time_ms=round(performance.p99, 3),
                requests_per_second=round(performance.per_second, 3),
                errors_per_minute=round(performance.errors_per_minute, 3),
            ),
            timestamp=self._clock.timestamp(),
            cluster=self._cluster.status(),
        )

    async def GetMetrics(self, request: pb.GetMetricsRequest, principal: Principal) -> HttpBody:
        figures = self._vitals.figures()
        sizes = exposition.Sizes(
            active_agents=self._supervisor.running,
            queued_agents=self._supervisor.queued,
            subscriptions=self._bus.subscriptions,
            event_queue=self._bus.queue_depth,
            outbox=self._outbox.waiting,
            storage=await self._vitals.storage_bytes(),
            disk_free=figures.disk_free,
            memory=figures.memory,
            uptime_seconds=self._vitals.uptime_seconds,
            cached_contexts=self._cache.entries,
            certificate_expires=self._certificate_expires(),
        )
        agents = await self._agents.totals_by_type()
        found = exposition.families(self._metrics, self._bus.counters, agents, sizes)
        return HttpBody(content_type=CONTENT_TYPE, data=generate_latest(exposition.Registry(found)))

    def _certificate_expires(self) -> float | None:
        if self._settings.tls_cert is None:
            return None
        try:
            return certificates.expiry(self._settings.tls_cert).timestamp()
        except (OSError, ValueError):
            # The log says why the file cannot be read; the former certificate stays in use.
            return None

    async def ListFindings(self, request: pb.ListFindingsRequest, principal: Principal) -> pb.ListFindingsResponse:
        return await self._doctor.findings()

    async def ProveIdentity(self, request: pb.ProveIdentityRequest, principal: Principal) -> pb.ProveIdentityResponse:
        host, port, grpc_port = self._settings.host, self._settings.port, self._settings.real_grpc_port
        proof = self._identity_key.proof(request.nonce, host, port, grpc_port)
        answer = pb.ProveIdentityResponse(host=host, port=port, grpc_port=grpc_port, proof=proof)
        answer.dashboard_port = self._settings.dashboard_port or 0
        if request.session:
            key = self._identity_key.of_session(request.session)
            answer.session_proof = key.dashboard_proof(request.nonce, port, answer.dashboard_port)
        return answer
