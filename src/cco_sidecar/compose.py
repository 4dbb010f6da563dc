"""The only place where parts are chosen and joined: Settings -> a running Sidecar."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
from google.protobuf.descriptor import ServiceDescriptor

from cco_sidecar.agents.budget import Budget
from cco_sidecar.agents.handover import Suggestions
from cco_sidecar.agents.launch import Address, Providers
from cco_sidecar.agents.rules import Plan
from cco_sidecar.agents.runners import Runners
from cco_sidecar.agents.service import AgentsService, Hands, Stores
from cco_sidecar.agents.servicer import AgentServicer
from cco_sidecar.approvals.desk import ApprovalDesk
from cco_sidecar.approvals.servicer import ApprovalServicer
from cco_sidecar.auth.identity_key import IdentityKey
from cco_sidecar.auth.keys import SigningKey
from cco_sidecar.auth.limits import RateLimits
from cco_sidecar.auth.policy import policies
from cco_sidecar.auth.tokens import SKEW_SECONDS, Tokens
from cco_sidecar.bus.bus import EventBus
from cco_sidecar.context.service import ContextService
from cco_sidecar.context.servicer import ContextServicer
from cco_sidecar.core import loop_watch, package_data
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.metrics import CallMetrics
from cco_sidecar.core.settings import DATABASE, Settings
from cco_sidecar.credentials.servicer import CredentialServicer
from cco_sidecar.credentials.vault import Vault
from cco_sidecar.events.servicer import EventServicer
from cco_sidecar.gateway.app import Gateway
from cco_sidecar.gateway.http import HttpServer
from cco_sidecar.gateway.routes import Routes
from cco_sidecar.results.create import ResultWriter
from cco_sidecar.results.next_agents import holds
from cco_sidecar.results.servicer import ResultServicer
from cco_sidecar.rpc import chain
from cco_sidecar.rpc.interceptors.access_log import AccessLog
from cco_sidecar.rpc.interceptors.authenticate import Authenticate
from cco_sidecar.rpc.interceptors.authorise import Authorise
from cco_sidecar.rpc.interceptors.errors import Errors
from cco_sidecar.rpc.interceptors.rate_limit import RateLimit
from cco_sidecar.rpc.interceptors.receive import Receive
from cco_sidecar.rpc.interceptors.request_id import RequestId
from cco_sidecar.rpc.interceptors.validate import Validate
from cco_sidecar.rpc.receiving import Admission
from cco_sidecar.rpc.server import GrpcServer
from cco_sidecar.storage.agents import SqlAgents
from cco_sidecar.storage.approvals import SqlApprovals
from cco_sidecar.storage.credentials import SqlCredentials
from cco_sidecar.storage.eventlog import EventLog
from cco_sidecar.storage.files import PRIVATE_FILE, open_storage, write_atomically
from cco_sidecar.storage.records import Records, SqlResults, SqlRevocations
from cco_sidecar.storage.run_directory import Registration
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.system.servicer import CacheFigures, SystemServicer
from cco_sidecar.system.vitals import Vitals
from orchestra.v1 import (
    agent_service_pb2,
    approval_service_pb2,
    context_service_pb2,
    credential_service_pb2,
    event_service_pb2,
    result_service_pb2,
    system_service_pb2,
)
from orchestra.v1.system_service_pb2 import ProveIdentityResponse

log = logging.getLogger(__name__)

OPERATOR_TOKEN_FILE = "operator.token"
# The operator's token is renewed in its file long before it expires, and when the clock was set back behind it.
_RENEW_SECONDS = 86_400
_LOOK_AT_CLOCK_SECONDS = 5.0
_DRAIN_SECONDS = 5.0
_PROTOS = (
    context_service_pb2,
    event_service_pb2,
    result_service_pb2,
    agent_service_pb2,
    approval_service_pb2,
    credential_service_pb2,
    system_service_pb2,
)
# Calls make few cycles; Python's default looks for some at every 700 new objects.
_GC_THRESHOLD = 20_000


class Sidecar:
    """Everything that runs, on the event loop that made it."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """Opens the storage and the ports. Raises SettingsError: one clear line."""
        self.settings = settings
        self.clock = clock or Clock()
        self._lock = open_storage(settings.storage)
        self.types = load_agent_types(settings.project_root)
        self._identity_key = IdentityKey.of(settings.storage)
        self._records = Records(settings.storage / DATABASE)
        self._store = SqlResults(self._records)
        key_file = settings.storage / "signing-key.pem"
        secret = settings.jwt_secret
        key = SigningKey.from_secret(secret) if secret else SigningKey.from_file(key_file)
        self.tokens = Tokens(key, SqlRevocations(self._records), self.types, self.clock)
        self._event_log = EventLog(settings.storage / "events")
        self.bus = EventBus(
            self._event_log,
            self.clock,
            retention_seconds=settings.event_retention,
            max_events=settings.max_events,
            max_bytes=settings.event_memory_mb * 2**20,
        )
        self.metrics = CallMetrics()
        self.context = ContextService(settings, self.types, self._store, self.bus)
        self._vault = Vault(SqlCredentials(self._records), settings.credentials_key_file, settings.storage, self.clock)
        self._approvals = SqlApprovals(self._records)
        self._desk = ApprovalDesk(self._approvals, self.bus, self.clock)
        self._writer = ResultWriter(
            self._store,
            self.bus,
            self.types,
            self.clock,
            settings.storage,
            settings.default_project,
            settings.results_quota_mb,
            branch_of=lambda agent_id: self.agents.branch_of(agent_id),
        )
        self.agents = self._make_agents()
        self._rooms = self._make_rooms()
        self._served_openapi: bytes | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _make_agents(self) -> AgentsService:
        async def context(
            project: str, issue: str, agent_type: str, task: str, requirements: Sequence[str], worktree: Path | None
        ) -> bytes:
            answer = await self.context.get(project, issue, agent_type, task, requirements, worktree)
            return await self.context.as_json(answer, self.clock.timestamp())

        def last_call(agent_id: str) -> float | None:
            return time.monotonic() if self.bus.has_reader(agent_id) else self.metrics.last_call(agent_id)

        return AgentsService(
            self.settings,
            Stores(SqlAgents(self._records), self._store, self._approvals),
            Hands(
                Providers(context, self._vault.values, self.context.root),
                Suggestions(
                    self._writer.next_agents,
                    lambda when, result: holds(when, self.types, result),
                ),
                self._desk.ask,
                self._writer.create,
                last_call,
            ),
            self.bus,
            self.tokens,
            self.types,
            self.clock,
        )

    def _make_rooms(self) -> list[chain.Room]:
        default = self.settings.default_project
        context_figures = self.context.cache_figures
        system = SystemServicer(
            Vitals(self.settings.storage),
            self.bus,
            self._records,
            self._store,
            SqlAgents(self._records),
            self.tokens,
            self.metrics,
            self.clock,
            self.settings.storage,
            cache=lambda: CacheFigures(*context_figures()),
            unpublished=lambda: len(self._writer.waiting),
            running=self.agents.running_types,
            prove=self._prove_identity,
            problems=lambda: self.types.problems,
        )
        known = policies(map(_service, _PROTOS))
        context = ContextServicer(self.context, self.clock, default, self.agents.worktree_of)
        agents = AgentServicer(self.agents, self.tokens, self.types, known, self.clock, default)
        return [
            chain.Room(_service(context_service_pb2), context),
            chain.Room(_service(event_service_pb2), EventServicer(self.bus, self.clock, default)),
            chain.Room(_service(result_service_pb2), ResultServicer(self._store, self._writer, default)),
            chain.Room(_service(agent_service_pb2), agents),
            chain.Room(_service(approval_service_pb2), ApprovalServicer(self._desk, self._approvals, default)),
            chain.Room(_service(credential_service_pb2), CredentialServicer(self._vault)),
            chain.Room(_service(system_service_pb2), system),
        ]

    async def start(self) -> None:
        """Opens both doors. Raises SettingsError when a port cannot be opened."""
        for problem in self.types.problems:
            log.warning("%s", problem)
        services = [room.service for room in self._rooms]
        admission = Admission()
        interceptors = [
            RequestId(policies(services)),
            AccessLog(self.metrics),
            Errors(),
            Authenticate(self.tokens, self.settings.allowed_hosts),
            RateLimit(RateLimits(self.settings.rate_limits)),
            Authorise(),
            Receive(admission),
            Validate(),
        ]
        handlers = await chain.build(self._rooms, interceptors, self.tokens)
        documents = {
            "/.well-known/jwks.json": lambda: self.tokens.jwks,
            "/openapi.json": self._openapi,
        }
        gateway = Gateway(Routes(services), handlers, documents, self.settings.cors_origins)
        self._http = HttpServer(gateway, self.settings.host, self.settings.port)
        self._registration = Registration(self.settings.storage)
        self._grpc = GrpcServer(
            handlers,
            [s.full_name for s in services],
            admission,
            self.settings.host,
            self.settings.real_grpc_port,
            self._registration.socket,
        )
        self._write_operator_token()
        await self._writer.recover(self.bus.event_of_result)
        await self._desk.recover()
        await self.agents.recover()
        await self._grpc.start()
        self._serving = asyncio.create_task(self._http.serve(), name="http")
        self.agents.start(self._agents_address())
        self._tasks.append(asyncio.create_task(self._renew_operator_token(), name="operator-token"))
        self._tasks.append(asyncio.create_task(loop_watch.watch(), name="loop-watch"))
        # What is loaded now lives until the end; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        found = self._found()
        self._registration.announce(found.url, found.grpc_target)
        log.info("listening", extra={"port": self.port, "grpc_port": self.grpc_port})

    @property
    def port(self) -> int:
        return self._http.port

    @property
    def grpc_port(self) -> int:
        return self._grpc.port

    def _agents_address(self) -> Address:
        """Where agents find us: they are on this machine."""
        found = self._found()
        return Address(f"{found.url}/api", found.grpc_target)

    def _found(self) -> Settings:
        """Which ports these are is known only now when any would do."""
        return dataclasses.replace(self.settings, port=self.port, grpc_port=self.grpc_port)

    async def stop(self, *, keep_agents: bool = False) -> None:
        """Agents are ended, or left to the next sidecar; health goes NOT_SERVING, parked readers get their cursor,
        open calls end, all is on disk."""
        log.info("stopping")
        self._registration.withdraw()
        await self._grpc.set_serving(False)
        await self.agents.close(keep_agents=keep_agents)
        await self._desk.close()
        self.bus.stop_readers()
        self._http.stop()
        await asyncio.gather(self._serving, self._grpc.stop(_DRAIN_SECONDS))
        for task in self._tasks:
            task.cancel()
        await self._writer.close()
        await self.bus.close()
        await self.close()
        log.info("stopped")

    async def close(self) -> None:
        """Releases what the constructor took."""
        await asyncio.to_thread(self._event_log.close)
        await asyncio.to_thread(self._records.close)
        self.context.close()
        os.close(self._lock)

    def _openapi(self) -> bytes:
        """The document, with where this server is."""
        if self._served_openapi is None:
            document = orjson.loads(package_data.openapi_file().read_bytes())
            self._served_openapi = orjson.dumps(document | {"servers": [{"url": self._found().url}]})
        return self._served_openapi

    def _prove_identity(self, nonce: str) -> ProveIdentityResponse:
        host, port, grpc_port = self.settings.host, self.port, self.grpc_port
        proof = self._identity_key.proof(nonce, host, port, grpc_port)
        return ProveIdentityResponse(host=host, port=port, grpc_port=grpc_port, proof=proof)

    def _write_operator_token(self) -> None:
        path = self.settings.storage / OPERATOR_TOKEN_FILE
        made = self.clock.seconds()
        write_atomically(path, self.tokens.mint_operator().token.encode() + b"\n", mode=PRIVATE_FILE)
        self._operator_token_made = made

    async def _renew_operator_token(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_CLOCK_SECONDS)
            if -SKEW_SECONDS <= self.clock.seconds() - self._operator_token_made < _RENEW_SECONDS:
                continue
            try:
                self._write_operator_token()
            except OSError as problem:
                log.warning("the operator's token could not be renewed yet: %s", problem)


def check(settings: Settings) -> None:
    """Whether a sidecar could be made with these settings, without opening anything. Raises SettingsError."""
    types = load_agent_types(settings.project_root)
    Runners(settings, types)
    Budget.of(Plan.of(settings.handover, types).limits)
    RateLimits(settings.rate_limits)


def _service(module: object) -> ServiceDescriptor:
    (service,) = module.DESCRIPTOR.services_by_name.values()  # type: ignore[attr-defined]
    return service  # type: ignore[no-any-return]
