"""Spawning: who may, with what, and what the new agent is."""

from __future__ import annotations

import asyncio
import re

from cco_sidecar.agents.budget import Budget
from cco_sidecar.agents.launch import Launcher, model_of
from cco_sidecar.agents.live import Live
from cco_sidecar.agents.runners import COMMAND
from cco_sidecar.agents.supervisor import Supervisor
from cco_sidecar.auth.policy import project_of
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import permission_denied
from cco_sidecar.core.principal import HANDOVER, Principal
from cco_sidecar.storage.base import AgentStore, StoredAgent
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_PENDING, Agent, SpawnAgentRequest
from orchestra.v1.event_service_pb2 import PRIORITY_NORMAL

_OPERATOR_ONLY = ("command", "directory", "credentials")
# Variables that choose what a program runs: naming one is as good as naming the command.
_STEERING = re.compile(
    r"PATH|LD_.*|DYLD_.*|PYTHON.*|NODE_.*|BASH_ENV|ENV|SHELLOPTS|GIT_.*|PERL5.*|RUBY.*|JAVA_TOOL_OPTIONS|IFS"
)


class Spawner:
    def __init__(
        self,
        store: AgentStore,
        supervisor: Supervisor,
        launcher: Launcher,
        types: AgentTypes,
        clock: Clock,
        budget: Budget,
        default_project: str,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._launcher = launcher
        self._types = types
        self._clock = clock
        self._budget = budget
        self._project = default_project
        # Between the look at the limits and the agent that counts nobody else is let in.
        self._counting = asyncio.Lock()

    async def spawn(self, request: SpawnAgentRequest, principal: Principal) -> Live:
        """For a caller. Raises SidecarError: AUTH_003, AGT_001 to AGT_003, REQ_001."""
        project = project_of(principal, request.project_id, self._project)
        if principal.operator:
            live = await self._add(request, project, spawned_by=principal.subject)
        else:
            _refuse_what_is_the_operators(request)
            depth = await self.depth_below(principal.subject)
            async with self._counting:
                await self._budget.check(self._store, project, request.issue_id, depth)
                live = await self._add(request, project, spawned_by=principal.subject, depth=depth)
        assert live is not None
        return live

    async def may_resume(self, stored: StoredAgent, principal: Principal) -> None:
        """The guards of a spawn hold for starting an agent again. Raises SidecarError (AUTH_003, AGT_003)."""
        if not principal.operator:
            _refuse_what_is_the_operators(stored.request)
            agent = stored.agent
            await self._budget.check(self._store, agent.project_id, agent.issue_id, agent.depth)

    async def hand_over(self, request: SpawnAgentRequest, project: str, depth: int, cause: str) -> Live | None:
        """For a rule; None when ``cause`` has been answered before. Raises SidecarError as ``spawn``."""
        async with self._counting:
            if await self._store.has_cause(cause):
                return None
            await self._budget.check(self._store, project, request.issue_id, depth)
            return await self._add(request, project, spawned_by=HANDOVER, depth=depth, cause=cause)

    async def approved(self, request: SpawnAgentRequest, project: str, depth: int, approval_id: str) -> None:
        """A person allowed it: no limit holds it back."""
        await self._add(request, project, spawned_by=HANDOVER, depth=depth, cause=approval_id)

    async def may_retry(self, agent: Agent) -> None:
        """For a rule, which says itself how often. Raises SidecarError (AGT_003)."""
        await self._budget.check(self._store, agent.project_id, agent.issue_id, agent.depth, again=True)

    async def depth_below(self, agent_id: str) -> int:
        """Of an agent that ``agent_id`` asks for."""
        parent = await self._store.by_id(agent_id)
        return (parent.agent.depth if parent else 0) + 1

    async def _add(
        self, request: SpawnAgentRequest, project: str, *, spawned_by: str, depth: int = 0, cause: str = ""
    ) -> Live | None:
        known = self._types.known(request.agent_type)
        runner = self._supervisor.runner_of(request)
        self._launcher.root(project)
        self._types.patterns_of(request.context_requirements)
        names = list(dict.fromkeys((*runner.credentials, *request.credentials)))
        await self._launcher.check(request, runner, names)
        agent = Agent(
            agent_id=ids.agent_id(known.type),
            agent_type=known.type,
            issue_id=request.issue_id,
            project_id=project,
            task=request.task,
            status=AGENT_STATUS_PENDING,
            reason="waits to be started",
            priority=request.priority or PRIORITY_NORMAL,
            created_at=self._clock.timestamp(),
            status_since=self._clock.timestamp(),
            max_attempts=runner.attempts,
            spawned_by=spawned_by,
            depth=depth,
            cause=cause,
            runner=COMMAND if request.command else runner.preset,
            model=model_of(request, runner, known),
            isolation=request.isolation or runner.isolation,
            credentials=names,
        )
        return await self._supervisor.add(agent, request)


def _refuse_what_is_the_operators(request: SpawnAgentRequest) -> None:
    """Raises SidecarError (AUTH_003)."""
    for name in _OPERATOR_ONLY:
        if getattr(request, name):
            raise permission_denied(f"only the operator names a spawn's {name}", field=name)
    for name in request.environment:
        if _STEERING.fullmatch(name):
            raise permission_denied(f"only the operator sets {name}: it chooses what is run", field="environment")
