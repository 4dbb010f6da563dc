"""Spawning: checks permissions and limits, and creates the record of the new agent."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from cco_sidecar.auth.scope import require_operator_fields_unset
from cco_sidecar.core import ids, security_log
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import permission_denied
from cco_sidecar.core.principal import HANDOVER, Principal
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.runners.launch import Launcher, model_of
from cco_sidecar.runners.presets import COMMAND
from cco_sidecar.storage.base import AgentStore, StoredAgent
from cco_sidecar.supervision.active import ActiveAgent
from cco_sidecar.supervision.budget import Budget
from cco_sidecar.supervision.placement import waiting
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_PENDING, ISOLATION_WORKTREE, Agent, SpawnAgentRequest
from orchestra.v1.event_service_pb2 import PRIORITY_NORMAL

# Prefix of variables that any agent may set for one it spawns (contract, section 8, decision 4).
_TASK = "TASK_"


class Descent(NamedTuple):
    """``depth``: the number of agents between a new agent and a person; ``tree``: the first of them."""

    depth: int = 0
    tree: str = ""

    @classmethod
    def below(cls, parent_id: str, parent: Agent | None) -> Descent:
        """Returns the descent of an agent that ``parent_id`` requests. ``parent``: its record, if it has one."""
        return cls(parent.depth + 1, parent.tree or parent_id) if parent is not None else cls(1, parent_id)


class Spawner:
    """Creates agents for callers, for hand-over rules and for approvals."""

    def __init__(
        self,
        store: AgentStore,
        supervisor: Supervisor,
        launcher: Launcher,
        types: AgentTypes,
        clock: Clock,
        *,
        budget: Budget,
        projects: Projects,
        settings: Settings,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._launcher = launcher
        self._types = types
        self._clock = clock
        self._budget = budget
        self._projects = projects
        self._environment = frozenset(settings.spawn_environment)
        # Held from the check of the limits until the new agent counts towards them.
        self._counting = asyncio.Lock()

    async def spawn(self, request: SpawnAgentRequest, principal: Principal, cause: str = "") -> ActiveAgent:
        """Spawns an agent for a caller; ``cause`` must be new.

        Raises SidecarError: AUTH_003, AGT_001 to AGT_003, BLP_003, PRJ_001, REQ_001, and those of a credential.
        """
        project = request.project_id
        if principal.operator:
            active = await self._spawn(request, project, Descent(), spawned_by=principal.subject, cause=cause)
        else:
            self._check_environment(request)
            parent = await self._store.by_id(principal.subject)
            descent = Descent.below(principal.subject, parent.agent if parent else None)
            async with self._counting:
                await self.check_limits(request, project, descent)
                active = await self._spawn(request, project, descent, spawned_by=principal.subject, cause=cause)
        assert active is not None
        return active

    async def require_may_resume(self, stored: StoredAgent, principal: Principal) -> None:
        """Applies the checks of a spawn to starting an agent again. Raises SidecarError (AUTH_003, AGT_002, AGT_003,
        BLP_003)."""
        self._types.require_active(stored.agent.agent_type)
        if not principal.operator:
            require_operator_fields_unset(stored.request)
            self._check_environment(stored.request)
            await self._budget.check(self._store, stored.agent, self._clock.micros())

    async def hand_over(
        self, request: SpawnAgentRequest, project: str, descent: Descent, cause: str
    ) -> ActiveAgent | None:
        """Spawns an agent for a rule; returns None if ``cause`` already has one. Raises SidecarError like ``spawn``."""
        async with self._counting:
            if await self._store.has_cause(cause):
                return None
            await self.check_limits(request, project, descent)
            return await self._spawn(request, project, descent, spawned_by=HANDOVER, cause=cause)

    async def spawn_approved(
        self, request: SpawnAgentRequest, project: str, descent: Descent, approval_id: str
    ) -> None:
        """Spawns an agent that a person approved; no limit applies. Raises SidecarError."""
        await self._spawn(request, project, descent, spawned_by=HANDOVER, cause=approval_id)

    async def require_may_retry(self, agent: Agent) -> None:
        """Checks the limits for a retry by a rule, which has its own limit of attempts. Raises SidecarError
        (AGT_003)."""
        await self._budget.check(self._store, agent, self._clock.micros(), again=True)

    async def check_limits(self, request: SpawnAgentRequest, project: str, descent: Descent) -> None:
        """Checks the limits that apply unless a person asks for the agent. Raises SidecarError (AGT_003)."""
        wanted = Agent(project_id=project, issue_id=request.issue_id, depth=descent.depth, tree=descent.tree)
        await self._budget.check(self._store, wanted, self._clock.micros())

    async def _spawn(
        self, request: SpawnAgentRequest, project: str, descent: Descent, *, spawned_by: str, cause: str = ""
    ) -> ActiveAgent | None:
        known = self._types.require_active(request.agent_type)
        runner = self._supervisor.runner_of(request)
        self._projects.root(project)
        self._types.patterns_of(request.context_requirements)
        names = list(dict.fromkeys((*runner.credentials, *request.credentials)))
        await self._launcher.check(request, runner, names)
        # A spawn that sets the worktree's base implies a worktree.
        isolation = ISOLATION_WORKTREE if request.base else request.isolation or runner.isolation
        agent = Agent(
            agent_id=ids.agent_id(known.type),
            agent_type=known.type,
            issue_id=request.issue_id,
            project_id=project,
            task=request.task,
            status=AGENT_STATUS_PENDING,
            reason=waiting(sorted({*request.runner_tags, *runner.tags})),
            priority=request.priority or PRIORITY_NORMAL,
            created_at=self._clock.timestamp(),
            status_since=self._clock.timestamp(),
            max_attempts=runner.attempts,
            spawned_by=spawned_by,
            depth=descent.depth,
            tree=descent.tree,
            cause=cause,
            runner=COMMAND if request.command else runner.preset,
            model=model_of(request, runner, known),
            isolation=isolation,
            credentials=names,
            sidecar_id=self._supervisor.sidecar_id,
        )
        active = await self._supervisor.spawn(agent, request)
        if active is not None:
            security_log.record(
                "agent_spawned",
                agent_id=agent.agent_id,
                agent_type=agent.agent_type,
                issue_id=agent.issue_id,
                project_id=project,
                spawned_by=spawned_by,
                credentials=names,
            )
        return active

    def _check_environment(self, request: SpawnAgentRequest) -> None:
        """Raises SidecarError (AUTH_003)."""
        for name in request.environment:
            if not name.startswith(_TASK) and name not in self._environment:
                raise permission_denied(
                    f"environment.{name[:80]}: an agent can set only names that begin with {_TASK} and those in "
                    "agents.spawn_environment of the config",
                    field="environment",
                )
