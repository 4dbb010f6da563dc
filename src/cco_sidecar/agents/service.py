"""Everything that lives in this room, joined: what the servicer calls, and what the sidecar starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cco_sidecar.agents import logs
from cco_sidecar.agents.announce import Announcer
from cco_sidecar.agents.budget import Budget
from cco_sidecar.agents.final_result import Store, result_finder
from cco_sidecar.agents.handover import Ask, Handover, Suggestions
from cco_sidecar.agents.identity import Identities
from cco_sidecar.agents.keeper import become_subreaper
from cco_sidecar.agents.launch import Address, Launcher, Providers
from cco_sidecar.agents.live import ENDED, GRACE_SECONDS, Live
from cco_sidecar.agents.recovery import Recovery
from cco_sidecar.agents.rules import Plan
from cco_sidecar.agents.runners import Runners
from cco_sidecar.agents.spawn import Spawner
from cco_sidecar.agents.supervisor import Supervisor, still_runs
from cco_sidecar.agents.upkeep import Upkeep
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.bus.bus import EventBus
from cco_sidecar.bus.journal import Entry
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, not_found, permission_denied, unavailable
from cco_sidecar.core.paging import Page, number_of, paged
from cco_sidecar.core.principal import OPERATOR, Principal
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.agents import SqlAgents
from cco_sidecar.storage.base import ApprovalStore, ResultStore, StoredAgent
from orchestra.v1.agent_service_pb2 import (
    Agent,
    ListAgentsRequest,
    LogLine,
    SendHeartbeatRequest,
    SpawnAgentRequest,
    StreamAgentLogsRequest,
)


class Stores(NamedTuple):
    agents: SqlAgents
    results: ResultStore
    approvals: ApprovalStore


class Hands(NamedTuple):
    """What other rooms do for this one."""

    providers: Providers
    suggestions: Suggestions
    ask: Ask
    store_result: Store
    last_call: Callable[[str], float | None]


class AgentsService:
    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        hands: Hands,
        bus: EventBus,
        tokens: Tokens,
        types: AgentTypes,
        clock: Clock,
    ) -> None:
        """Raises SettingsError for runners and rules that are not right."""
        self._bus = bus
        self._store = stores.agents
        self._grace = GRACE_SECONDS
        plan = Plan.of(settings.handover, types)
        runners = Runners(settings, types)
        self._launcher = Launcher(types, hands.providers, stores.agents, settings)
        announcer = self._announcer = Announcer(stores.agents, bus)
        identities = self._identities = Identities(tokens, types, clock)
        self.supervisor = Supervisor(
            stores.agents,
            announcer,
            self._launcher,
            runners,
            types,
            identities,
            clock,
            settings.max_concurrent,
            result_finder(stores.results, hands.store_result, types, self._launcher.worktrees),
        )
        self._spawner = Spawner(
            stores.agents,
            self.supervisor,
            self._launcher,
            types,
            clock,
            Budget.of(plan.limits),
            settings,
        )
        self._recovery = Recovery(
            self.supervisor,
            stores.agents,
            stores.results,
            stores.approvals,
            announcer,
            self._launcher,
            identities,
            clock,
        )
        self._upkeep = Upkeep(
            self.supervisor,
            identities,
            self._launcher.worktrees,
            stores.agents,
            announcer,
            clock,
            settings.storage,
            settings.agent_logs,
            hands.last_call,
        )
        self._handover = Handover(
            plan,
            self._spawner,
            self.supervisor,
            stores.agents,
            stores.agents,
            stores.results,
            stores.approvals,
            bus,
            hands.suggestions,
            hands.ask,
            tokens.issue_of,
        )
        self._tasks: list[asyncio.Task[None]] = []

    # -- coming and going ---------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Finds the agents of an earlier sidecar, before anyone can call."""
        self._launcher.sandbox.announce()
        self._bus.listeners.append(self._on_event)
        become_subreaper()
        await self._recovery.run()
        await self._handover.start()

    def start(self, address: Address) -> None:
        """Starts what waits. ``address``: where agents find us."""
        self._launcher.address = address
        self.supervisor.start()
        works: list[Coroutine[Any, Any, None]] = [self._upkeep.run(), self._handover.run()]
        self._tasks = [asyncio.create_task(work) for work in works]

    async def close(self, *, keep_agents: bool) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.supervisor.close(keep_agents=keep_agents)
        await self._announcer.close()

    def _on_event(self, project: str, entry: Entry) -> None:
        """The agents' results, and questions to a person and their answers."""
        self._handover.on_event(project)
        if entry.event_type not in _HEARD:
            return
        live = self.supervisor.find(entry.text("agent_id") or "")
        # Only its own word counts, or the operator's.
        if live is None or entry.publisher not in (live.agent.agent_id, OPERATOR):
            return
        if entry.event_type == "approval_requested":
            live.questions.add(entry.text("approval_id") or "")
            live.agent.progress.message = entry.text("question") or ""
        elif entry.event_type == "approval_answered":
            if entry.publisher == OPERATOR:
                live.questions.discard(entry.text("approval_id") or "")
        elif result_id := entry.text("result_id"):
            live.agent.result_id = result_id

    # -- acts ---------------------------------------------------------------------------------------------

    async def spawn(self, request: SpawnAgentRequest, principal: Principal) -> Live:
        """Returns when its process runs, or when it is queued. Raises SidecarError."""
        live = await self._spawner.spawn(request, principal)
        if not self.queue_position(live.agent):
            # Once begun it goes on, also when the caller goes away.
            await asyncio.shield(live.begun)
        return live

    async def get(self, agent_id: str, principal: Principal) -> StoredAgent:
        """Raises SidecarError (AGT_004) for one that is not there, or another project's."""
        stored = await self._store.by_id(agent_id)
        if stored is None or not (principal.operator or stored.agent.project_id == principal.project_id):
            raise _unknown(agent_id)
        return self._seen_by(principal, self._current(stored))

    async def page(self, request: ListAgentsRequest, project: str | None, principal: Principal) -> Page[StoredAgent]:
        found = await paged(
            lambda before, limit: self._store.page(
                project,
                status=request.status,
                agent_type=request.agent_type,
                issue=request.issue_id,
                before=before,
                limit=limit,
            ),
            number_of(request.cursor),
            request.limit,
        )
        return Page([self._seen_by(principal, self._current(each)) for each in found.items], found.next_cursor)

    async def stop(self, agent_id: str, principal: Principal, *, force: bool, timeout: float | None) -> bool:
        """False when it had ended before. Raises SidecarError."""
        await self.get(agent_id, principal)
        live = self.supervisor.find(agent_id)
        if live is None:
            return False
        grace = 0.0 if force else self._grace if timeout is None else timeout
        by = "the operator" if principal.operator else principal.subject
        await self.supervisor.stop(live, f"stopped by {by}", grace=grace)
        return True

    async def resume(self, agent_id: str, message: str, principal: Principal) -> Agent:
        stored = await self.get(agent_id, principal)
        if stored.agent.status not in ENDED or self.supervisor.find(agent_id) is not None:
            raise still_runs(agent_id)
        await self._spawner.may_resume(stored, principal)
        live = await self.supervisor.again(stored.agent, message, f"resumed by {principal.subject}")
        if not self.queue_position(live.agent):
            await asyncio.shield(live.begun)
        return live.agent

    async def heartbeat(self, request: SendHeartbeatRequest, principal: Principal, clock: Clock) -> Agent:
        if not principal.operator and principal.subject != request.agent_id:
            raise permission_denied("an agent sends its own heartbeat only", agent_id=principal.subject)
        stored = await self.get(request.agent_id, principal)
        live = self.supervisor.find(request.agent_id)
        if live is None or not live.agent.HasField("process_id"):
            raise conflict("AGT_005", f"agent '{request.agent_id}' does not run: {stored.agent.reason}")
        progress = live.agent.progress
        if request.HasField("percent"):
            progress.percent = request.percent
        progress.message = request.message or progress.message
        progress.at.CopyFrom(clock.timestamp())
        live.needs_input = request.needs_input
        await self._upkeep.heard(live)
        return live.agent

    async def revoke_tokens(self, agent_id: str) -> None:
        """Of any agent, spawned here or not; one that runs on gets no new ones."""
        await self._identities.cut_off(agent_id, self.supervisor.find(agent_id))

    async def discard_worktree(self, agent_id: str, principal: Principal) -> Agent:
        async with self._launcher.worktrees.lock(agent_id):
            agent = (await self.get(agent_id, principal)).agent
            if self.supervisor.find(agent_id) is not None:
                raise still_runs(agent_id)
            await self._launcher.worktrees.discard(agent)
            if self.supervisor.find(agent_id) is None:
                await self._store.save(agent)
        return agent

    async def stream_logs(self, request: StreamAgentLogsRequest, principal: Principal) -> AsyncIterator[list[LogLine]]:
        """Raises SidecarError: AGT_004, or AUTH_003 for another agent's logs."""
        agent = (await self.get(request.agent_id, principal)).agent
        if not _reads_logs(principal, agent):
            raise permission_denied("an agent reads its own logs only", agent_id=principal.subject)
        # One that is queued, or tried again later, is followed from its start.
        attempt = request.attempt or max(agent.attempt, 1)
        if attempt > max(agent.attempt, 1) and self.supervisor.find(agent.agent_id) is None:
            raise not_found("AGT_009", f"'{agent.agent_id}' has no attempt {attempt}; its last is {agent.attempt}")
        tail = request.tail if request.HasField("tail") else None
        while True:
            path = self._launcher.run_at(agent, attempt).output
            start = 0 if tail is None else await asyncio.to_thread(logs.tail_offset, path, tail)
            reader = logs.LogReader(path, start)
            batches = logs.batches(reader, tail)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                yield batch
            if not request.follow:
                return
            async for batch in logs.follow(path, reader, partial(self._is_over, agent.agent_id, attempt)):
                yield batch
            if self._bus.draining and self.supervisor.find(agent.agent_id) is not None:
                raise unavailable("AGT_008", "the sidecar is shutting down; follow on when it is back")
            if request.attempt or self.supervisor.find(agent.agent_id) is None:
                return
            # It is tried again: on with the next attempt.
            attempt, tail = attempt + 1, None

    def _is_over(self, agent_id: str, attempt: int) -> bool:
        """Nothing more is printed by this attempt."""
        live = self.supervisor.find(agent_id)
        if live is None or self._bus.draining or live.agent.attempt > attempt:
            return True
        return live.agent.attempt == attempt and live.retry is not None

    def queue_position(self, agent: Agent) -> int:
        return self.supervisor.position(agent.agent_id)

    def branch_of(self, agent_id: str) -> str:
        """The branch that a running agent works on; empty for none."""
        live = self.supervisor.find(agent_id)
        return live.agent.branch if live else ""

    def worktree_of(self, agent_id: str) -> Path | None:
        """Where a running agent works; None for the project's own directory."""
        live = self.supervisor.find(agent_id)
        return Path(live.agent.worktree) if live and live.agent.worktree else None

    def running_types(self) -> Mapping[str, str]:
        return self.supervisor.running_types()

    def _seen_by(self, principal: Principal, stored: StoredAgent) -> StoredAgent:
        if not _reads_logs(principal, stored.agent):
            del stored.agent.last_output[:]
        return stored

    def _current(self, stored: StoredAgent) -> StoredAgent:
        """As it is in memory when it lives: the record is a moment behind."""
        live = self.supervisor.find(stored.agent.agent_id)
        if live is None:
            return stored
        agent = Agent()
        agent.CopyFrom(live.agent)
        agent.queue_position = self.queue_position(agent)
        return stored._replace(agent=agent)


_HEARD = frozenset({"agent_completed", "agent_failed", "approval_requested", "approval_answered"})


def _reads_logs(principal: Principal, agent: Agent) -> bool:
    return principal.operator or principal.architect or principal.subject == agent.agent_id


def _unknown(agent_id: str) -> SidecarError:
    return not_found("AGT_004", f"there is no agent '{agent_id}'; 'cco agent list' names them", agent_id=agent_id)
