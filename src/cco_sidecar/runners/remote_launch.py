"""Starts an attempt at a runner: what it needs goes along, so that the runner needs no records of its own."""

from __future__ import annotations

import logging
from dataclasses import asdict

import orjson

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners.hub import LOST, Hub
from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.remote import RemoteRun
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest
from orchestra.v1.agent_service_pb2 import AgentType as AgentTypeMessage

log = logging.getLogger(__name__)


async def launch(
    hub: Hub,
    run: RemoteRun,
    agent: Agent,
    request: SpawnAgentRequest,
    known: AgentType,
    runner: Runner,
    *,
    token: str,
    context_json: bytes,
    context_markdown: bytes,
    secrets: dict[str, str],
    base: str,
    resuming: bool,
    patience: float,
) -> int:
    """Returns the pid at the runner; 0 if the runner was lost, or silent for ``patience`` seconds, before it answered,
    so that the attempt may have begun. Sets the agent's worktree. Raises SidecarError, OSError."""
    own = {field.name: getattr(known, field.name) for field in AgentTypeMessage.DESCRIPTOR.fields}
    order = pb.LaunchRun(
        agent=agent,
        request=request,
        agent_type=AgentTypeMessage(**own),
        blueprint=known.blueprint,
        preset=orjson.dumps(asdict(runner)),
        jwt_token=token,
        context_json=context_json,
        context_markdown=context_markdown,
        secrets=secrets,
        resuming=resuming,
        base=base,
    )
    run.base = (agent.project_id, base)
    run.keep_token(token)
    run.mark_ordered()
    station = hub.station(agent.runner_id)
    station.watch(run)
    try:
        answer = await station.ask(
            pb.AttendRunnerResponse(agent_id=agent.agent_id, attempt=agent.attempt, launch=order), patience
        )
    except SidecarError as problem:
        if problem.code != LOST:
            station.forget(run.key)
            raise
        log.warning("runner %s did not say whether it started agent %s", agent.runner_id, agent.agent_id)
        return 0
    agent.worktree = answer.worktree
    return answer.process_id
