"""Spawns an agent, and resumes an ended one."""

from __future__ import annotations

import asyncio

from cco_sidecar.core.principal import Principal
from cco_sidecar.services.agents.read import AgentReader
from cco_sidecar.supervision.active import ActiveAgent
from cco_sidecar.supervision.life import ENDED_STATUSES
from cco_sidecar.supervision.spawn import Spawner
from cco_sidecar.supervision.supervisor import Supervisor, not_ended
from orchestra.v1.agent_service_pb2 import ResumeAgentRequest, SpawnAgentRequest


async def spawn_agent(
    spawner: Spawner, supervisor: Supervisor, request: SpawnAgentRequest, principal: Principal
) -> ActiveAgent:
    """Spawns an agent. Returns once its process runs or it is queued. Raises SidecarError."""
    return await _begun(supervisor, await spawner.spawn(request, principal))


async def resume_agent(
    reader: AgentReader, spawner: Spawner, supervisor: Supervisor, request: ResumeAgentRequest, principal: Principal
) -> ActiveAgent:
    """Starts an ended agent again, like ``spawn_agent``. Raises SidecarError: AGT_004, AGT_005 for an agent that has
    not ended, and those of a spawn."""
    stored = await reader.get(request.agent_id, principal)
    if stored.agent.status not in ENDED_STATUSES or supervisor.find(request.agent_id) is not None:
        raise not_ended(request.agent_id)
    await spawner.require_may_resume(stored, principal)
    reason = f"resumed by {principal.subject}"
    return await _begun(supervisor, await supervisor.resume(stored.agent, request.message, reason))


async def _begun(supervisor: Supervisor, active: ActiveAgent) -> ActiveAgent:
    if not supervisor.position(active.agent_id):
        # Shielded: the start completes even if the caller is cancelled.
        await asyncio.shield(active.begun)
    return active
