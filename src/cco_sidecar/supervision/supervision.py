"""Assembles the components that supervise agents."""

from __future__ import annotations

import asyncio
import logging

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.bus.engine import EventEngine
from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.metrics import Metrics
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.core.tracing import Tracer
from cco_sidecar.repository.mirrors import Mirrors
from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.needs import ContextSource, CredentialSource
from cco_sidecar.runners.presets import Runners
from cco_sidecar.runners.remote_launch import SidecarLauncher
from cco_sidecar.runners.shim import become_subreaper
from cco_sidecar.storage.base import Stores
from cco_sidecar.supervision.attempts import Attempts
from cco_sidecar.supervision.budget import Budget
from cco_sidecar.supervision.catalogue import Catalogue
from cco_sidecar.supervision.final_result import FinalResults
from cco_sidecar.supervision.heard import Heard
from cco_sidecar.supervision.leases import Leases
from cco_sidecar.supervision.lost import give_up
from cco_sidecar.supervision.maintenance import Maintenance
from cco_sidecar.supervision.placement import Placement
from cco_sidecar.supervision.records import Records
from cco_sidecar.supervision.recovery import Recovery
from cco_sidecar.supervision.results import ResultRecorder
from cco_sidecar.supervision.spawn import Spawner
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.system_service_pb2 import ClusterMember

log = logging.getLogger(__name__)


class Supervision:
    """Owns the supervisor, the spawner, recovery and maintenance."""

    def __init__(
        self,
        settings: Settings,
        *,
        projects: Projects,
        catalogue: Catalogue,
        budget: Budget,
        stores: Stores,
        context: ContextSource,
        credentials: CredentialSource,
        recorder: ResultRecorder,
        events: EventEngine,
        tokens: Tokens,
        metrics: Metrics,
        tracer: Tracer,
        clock: Clock,
        cluster: Cluster,
    ) -> None:
        """``settings`` must contain the ports in use. Raises SettingsError for invalid runners or sandbox users."""
        self._bus, outbox = events.bus, events.outbox
        self._catalogue, self.types = catalogue, catalogue.types
        self.cluster, self.projects = cluster, projects
        types, agents = self.types, stores.agents
        self.leases = Leases(tokens, types, clock, cluster)
        self.hub = Hub(settings.cluster_lost_after, lambda: cluster.silent_seconds, clock)
        self.launcher = SidecarLauncher(types, projects, context, credentials, agents, settings, self.hub)
        worktrees, attempts = self.launcher.worktrees, Attempts(self.launcher, self.leases, clock)
        final_results = FinalResults(stores.results, recorder, types, worktrees, clock)
        self._records = records = Records(agents, outbox, self.leases, worktrees, final_results, tracer, clock)
        self.supervisor = Supervisor(
            agents,
            records=records,
            attempts=attempts,
            runners=Runners(settings, types),
            types=types,
            clock=clock,
            placement=Placement(self.hub, settings.max_concurrent),
            sidecar_id=cluster.sidecar_id,
        )
        self.hub.listen(self.supervisor.admit)
        self._heard = Heard(self.supervisor, records)
        self.spawner = Spawner(
            agents, self.supervisor, self.launcher, types, clock, budget=budget, projects=projects, settings=settings
        )
        self._recovery = Recovery(self.supervisor, attempts, stores, self.launcher, self.leases, clock, cluster)
        self._maintenance = Maintenance(
            self.supervisor,
            leases=self.leases,
            worktrees=worktrees,
            hub=self.hub,
            store=agents,
            bus=self._bus,
            metrics=metrics,
            clock=clock,
            storage=settings.storage,
            log_retention=settings.agent_logs,
            shared=cluster.shared,
        )
        self._background, self._credentials = Background(), credentials
        self._mirrors = Mirrors(settings, projects, self._secret)

    async def _secret(self, name: str) -> str:
        """Raises SidecarError: CRD_001, CRD_002."""
        return (await self._credentials.values([name]))[name]

    async def recover(self) -> None:
        """Takes over the agents of an earlier sidecar. Must run before the transports open. Raises SidecarError."""
        for problem in self.types.problems:
            log.warning("%s", problem)
        self.launcher.sandbox.announce()
        self._bus.listen(self._heard.on_event)
        become_subreaper()
        await self._recovery.run()

    def start(self) -> None:
        """Starts the queued agents and the periodic maintenance."""
        self.supervisor.start()
        self._mirrors.start()
        self._background.start(self._maintenance.run(), "maintenance")
        self._background.start(self._catalogue.watch(), "blueprints")

    async def take_over(self, sidecar_id: str) -> None:
        """Takes over the agents of a sidecar that is lost. Raises SidecarError."""
        await self._recovery.take_over(sidecar_id)

    def describe(self, member: ClusterMember) -> None:
        """Adds how many agents run and wait here."""
        member.running, member.queued = self.supervisor.running, self.supervisor.queued

    def give_up(self) -> None:
        """Ends the agents that other sidecars have taken over."""
        for active in self.supervisor.active.values():
            active.lease.lost = True
        self._background.start(give_up(self.supervisor, self._records), "agents that were taken over")

    async def close(self, *, keep_agents: bool) -> bool:
        """Stops maintenance, and stops the agents unless ``keep_agents``. Returns whether all that were to be stopped
        have ended."""
        await asyncio.gather(self._background.end(), self._mirrors.close())
        return await self.supervisor.close(keep_agents=keep_agents)
