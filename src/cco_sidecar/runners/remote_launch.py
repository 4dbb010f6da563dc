"""Starts attempts on the machine of the sidecar, and at runners, which have no records: what is needed goes along."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict

import orjson

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.launch import Launcher
from cco_sidecar.runners.needs import ContextSource, CredentialSource, Places, Types
from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.remote import RemoteRun
from cco_sidecar.runners.remote_runner import LOST
from cco_sidecar.runners.remote_worktrees import SidecarWorktrees
from cco_sidecar.runners.run import Run
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import ISOLATION_WORKTREE, Agent, SpawnAgentRequest
from orchestra.v1.agent_service_pb2 import AgentType as AgentTypeMessage

log = logging.getLogger(__name__)

# In which a runner starts an attempt, beside its worktree: commits may have to be sent first.
_START_SECONDS = 300.0


class SidecarLauncher(Launcher):
    """``hub``: the runners."""

    worktrees: SidecarWorktrees

    def __init__(
        self,
        types: Types,
        projects: Projects,
        context: ContextSource,
        credentials: CredentialSource,
        store: Places,
        settings: Settings,
        hub: Hub,
    ) -> None:
        worktrees = SidecarWorktrees(settings.storage, projects, settings.branch_prefix, hub)
        super().__init__(types, projects, context, credentials, store, settings, worktrees)
        self._hub = hub

    def run_at(self, agent: Agent, attempt: int) -> Run:
        if not agent.runner_id or attempt < agent.attempt:
            # What is left of an earlier attempt is here.
            return super().run_at(agent, attempt)
        return self._hub.run_at(self._directory(agent, attempt), agent.agent_id, attempt, agent.runner_id)

    async def spawn(
        self,
        agent: Agent,
        request: SpawnAgentRequest,
        runner: Runner,
        run: Run,
        token: str,
        *,
        resuming: bool,
        base: str = "",
    ) -> int:
        """See ``Launcher``. At a runner, 0 is returned if that was lost, or silent for too long, before it answered, so
        that the attempt may have begun."""
        if not isinstance(run, RemoteRun):
            return await super().spawn(agent, request, runner, run, token, resuming=resuming, base=base)
        known = self._types.require(agent.agent_type)
        secrets = await self._credentials.values(agent.credentials)
        if agent.isolation == ISOLATION_WORKTREE:
            base = await asyncio.to_thread(
                self.worktrees.begin, agent, base or await self._base(agent, request, runner)
            )
        context = await self._context.for_agent(
            agent.project_id, agent.issue_id, agent.agent_type, agent.task, request.context_requirements, None
        )
        # From now on the attempt may begin there.
        await self._save_place(agent)
        order = pb.LaunchRun(
            agent=agent,
            request=request,
            agent_type=AgentTypeMessage(
                **{field.name: getattr(known, field.name) for field in AgentTypeMessage.DESCRIPTOR.fields}
            ),
            blueprint=known.blueprint,
            preset=orjson.dumps(asdict(runner)),
            jwt_token=token,
            context_json=context.json,
            context_markdown=context.markdown,
            secrets=secrets,
            resuming=resuming,
            base=base,
        )
        run.base = (agent.project_id, base)
        run.keep_token(token)
        run.mark_ordered()
        return await self._order(run, agent, order)

    async def _order(self, run: RemoteRun, agent: Agent, order: pb.LaunchRun) -> int:
        """Sets the agent's worktree. Raises SidecarError."""
        remote = self._hub.runner(agent.runner_id)
        remote.watch(run)
        message = pb.AttendRunnerResponse(agent_id=agent.agent_id, attempt=agent.attempt, launch=order)
        try:
            answer = await remote.ask(message, self._worktree_seconds + _START_SECONDS)
        except SidecarError as problem:
            if problem.code != LOST:
                remote.forget(run.key)
                raise
            log.warning("runner %s did not say whether it started agent %s", agent.runner_id, agent.agent_id)
            return 0
        agent.worktree = answer.worktree
        return answer.process_id
