"""Builds a running Sidecar from settings. The only place where components are created and connected."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os

from cco_sidecar.auth.operator_token import OperatorToken
from cco_sidecar.bus.engine import EventEngine
from cco_sidecar.cluster.assembly import clock_of
from cco_sidecar.core import garbage, loop_watch
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.metrics import Metrics
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.run_directory import Registration
from cco_sidecar.core.services import services
from cco_sidecar.core.settings import Settings
from cco_sidecar.foundation import Foundation
from cco_sidecar.gateway.app import Gateway
from cco_sidecar.gateway.documents import Documents
from cco_sidecar.gateway.routes import Routes
from cco_sidecar.gateway.servers import HttpServers
from cco_sidecar.mcp.endpoint import McpEndpoint
from cco_sidecar.rpc import chain
from cco_sidecar.rpc.receiving import Admission
from cco_sidecar.rpc.server import GrpcServer
from cco_sidecar.services.agents.servicer import AgentServicer
from cco_sidecar.services.approvals.servicer import ApprovalServicer
from cco_sidecar.services.blueprints.servicer import BlueprintServicer
from cco_sidecar.services.consumers.servicer import ConsumerServicer
from cco_sidecar.services.context.service import ContextService
from cco_sidecar.services.context.servicer import ContextServicer
from cco_sidecar.services.credentials.servicer import CredentialServicer
from cco_sidecar.services.credentials.vault import Vault
from cco_sidecar.services.documents.servicer import DocumentServicer
from cco_sidecar.services.events.servicer import EventServicer
from cco_sidecar.services.handover.engine import Handover
from cco_sidecar.services.handover.rules import Plan
from cco_sidecar.services.knowledge.servicer import KnowledgeServicer
from cco_sidecar.services.results.servicer import ResultServicer
from cco_sidecar.services.runners.servicer import RunnerServicer
from cco_sidecar.services.schedules.servicer import ScheduleServicer
from cco_sidecar.services.schemas.servicer import SchemaServicer
from cco_sidecar.services.sessions.servicer import SessionServicer
from cco_sidecar.services.sessions.sessions import Sessions
from cco_sidecar.services.system.servicer import SystemServicer
from cco_sidecar.services.webhooks.servicer import WebhookServicer
from cco_sidecar.storage.files import open_storage
from cco_sidecar.storage.sealing import Seal
from cco_sidecar.supervision.approvals import Approvals
from cco_sidecar.supervision.budget import Budget
from cco_sidecar.supervision.catalogue import Catalogue
from cco_sidecar.supervision.results import ResultRecorder
from cco_sidecar.supervision.supervision import Supervision
from cco_sidecar.telemetry.tracer import tracer_of

log = logging.getLogger(__name__)


class Sidecar:
    """The whole server. It belongs to the event loop in which it is created."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """Opens the storage and binds the ports. Raises SettingsError with a one-line message."""
        self._lock = open_storage(settings.storage)
        self._registration = Registration(settings.storage)
        self._http = HttpServers(settings)
        self._grpc = GrpcServer(settings, self._registration.socket)
        # The actual ports, which differ from the settings if those allow any port.
        bound = dataclasses.replace(settings, grpc_port=self._grpc.port, **self._http.ports)
        self.settings, self.clock = bound, clock_of(bound, clock or Clock())
        self._catalogue = Catalogue(bound)
        self.types = self._catalogue.types
        self._base = base = Foundation(bound, self.types, self.clock)
        stores, self._tokens = base.stores, base.tokens
        self._operator_token = OperatorToken(bound.storage, self._tokens, self.clock)
        seal = Seal(bound.credentials_key_file, bound.storage, stores)
        self._events = engine = EventEngine(bound, stores, seal, self.clock, shared=bound.shares)
        self._bus, self._outbox = engine.bus, engine.outbox
        self._metrics, self._tracer = Metrics(), tracer_of(bound)
        projects, plan = Projects(bound), Plan.of(bound.handover, self.types)
        self._context = ContextService(bound, projects, self.types, stores, self._bus, self.clock, self._metrics.cache)
        self._context.warm()  # its process starts while the rest is set up
        self._vault = Vault(stores.credentials, seal, self.clock)
        self._approvals = Approvals(stores.approvals, self._outbox, self.clock)
        self._recorder = ResultRecorder(stores.results, self._outbox, self.types, bound, self.clock)
        self._supervision = Supervision(
            bound,
            projects=projects,
            catalogue=self._catalogue,
            budget=Budget.of(plan.limits),
            stores=stores,
            context=self._context,
            credentials=self._vault,
            recorder=self._recorder,
            events=engine,
            tokens=self._tokens,
            metrics=self._metrics,
            tracer=self._tracer,
            clock=self.clock,
            cluster=base.cluster,
        )
        self._handover = Handover(
            plan,
            supervision=self._supervision,
            stores=stores,
            bus=self._bus,
            recorder=self._recorder,
            approvals=self._approvals,
        )
        self._sessions = Sessions(bound, stores, self._supervision, engine, self.types, projects, self.clock)
        base.connect(self._supervision, engine, self._handover, self._sessions.take_over)
        self._background = Background()

    def _servicers(self) -> list[object]:
        """Returns one servicer for each service of orchestra.v1."""
        base, bus, events, outbox = self._base, self._bus, self._events, self._outbox
        clock, settings, types, metrics = self.clock, self.settings, self.types, self._metrics
        stores, tokens, runs = base.stores, self._tokens, self._supervision.supervisor
        return [
            AgentServicer(self._supervision, stores.agents, bus, tokens, types, clock, settings),
            ApprovalServicer(self._approvals, stores.approvals),
            BlueprintServicer(self._catalogue, runs, clock),
            ConsumerServicer(events.consumers, stores.consumers, bus),
            ContextServicer(self._context, clock, runs),
            CredentialServicer(self._vault),
            DocumentServicer(stores.documents, outbox, settings.documents_quota_mb, clock),
            EventServicer(bus, events.schemas, clock),
            KnowledgeServicer(stores.knowledge, settings.knowledge_approve, clock),
            ResultServicer(stores, self._recorder, types, clock),
            RunnerServicer(self._supervision, tokens),
            ScheduleServicer(events.schedules, bus, events.schemas, clock),
            SchemaServicer(events.schemas),
            SessionServicer(self._sessions, clock),
            SystemServicer(
                *(settings, bus, outbox, base.database, stores, runs, tokens, types, metrics, clock, base.cluster)
            ),
            WebhookServicer(events.webhooks, stores.consumers),
        ]

    async def start(self) -> None:
        """Recovers the state of an earlier process and opens both transports. Raises SettingsError, SidecarError."""
        admission = Admission()
        around = chain.interceptors(
            self.settings, self._tokens, self._metrics, self._tracer, admission, self._base.forwarding
        )
        handlers = chain.build(self._servicers(), around, self._tokens)
        documents, mcp = Documents(self._tokens), McpEndpoint(handlers, self._tokens)
        gateway = Gateway(Routes(services()), handlers, documents, self.settings.cors_origins, mcp)
        await self._events.recover()
        await self._base.cluster.join()
        self._operator_token.write()
        await self._recorder.recover()
        await self._outbox.recover()
        await self._supervision.recover()
        await self._sessions.start()
        await self._grpc.start(handlers, admission)
        self._http.start(gateway, handlers, self._tokens)
        self._supervision.start()
        self._events.start()
        self._base.duties.open()
        self._base.start()
        self._background.start(self._operator_token.keep_fresh(), "operator token")
        self._background.start(loop_watch.watch(self._metrics.loop_lag), "loop watch")
        garbage.freeze()
        self._registration.announce(self.settings, Projects(self.settings).directories)
        log.info("listening", extra={"port": self.settings.port, "grpc_port": self.settings.grpc_port})

    async def stop(self, *, keep_agents: bool = False) -> None:
        """Shuts down gracefully.

        Health changes to NOT_SERVING. Agents are stopped, or left to the next sidecar with ``keep_agents``. Waiting
        readers get their cursor, open calls end, and everything is written to disk.
        """
        log.info("stopping")
        self._registration.withdraw()
        await self._grpc.set_serving(False)
        await asyncio.gather(self._background.end(), self._base.stop(), self._events.stop())
        await asyncio.gather(self._handover.close(), self._sessions.close())
        ended = await self._supervision.close(keep_agents=keep_agents)
        self._bus.stop_readers()
        await asyncio.gather(self._http.stop(), self._grpc.stop())
        await asyncio.gather(self._recorder.close(), self._approvals.close())
        await self._events.close()
        await self._base.cluster.leave(gone=ended and not keep_agents)
        await self.close()
        log.info("stopped")

    async def close(self) -> None:
        """Releases what the constructor opened."""
        self._http.close()
        self._grpc.close()
        await asyncio.gather(self._events.release(), self._tracer.close())
        await self._base.close()
        self._context.close()
        os.close(self._lock)
