"""Operations on an agent: stop it, send its heartbeat, discard its worktree."""

from __future__ import annotations

from cco_sidecar.core.errors import conflict
from cco_sidecar.core.principal import Principal
from cco_sidecar.runners.launch import GRACE_SECONDS
from cco_sidecar.runners.worktrees import Worktrees
from cco_sidecar.services.agents.read import AgentReader
from cco_sidecar.storage.base import AgentStore
from cco_sidecar.supervision.supervisor import Supervisor, not_ended
from orchestra.v1.agent_service_pb2 import Agent, SendHeartbeatRequest, StopAgentRequest


async def stop_agent(
    reader: AgentReader, supervisor: Supervisor, request: StopAgentRequest, principal: Principal
) -> bool:
    """Stops an agent and returns when it has ended; False if it had ended before. Raises SidecarError (AGT_004)."""
    await reader.get(request.agent_id, principal)
    active = supervisor.find(request.agent_id)
    if active is None:
        return False
    asked = request.timeout if request.HasField("timeout") else GRACE_SECONDS
    by = "the operator" if principal.operator else principal.subject
    await supervisor.stop(active, f"stopped by {by}", grace=0.0 if request.force else asked)
    return True


async def send_heartbeat(
    reader: AgentReader, supervisor: Supervisor, request: SendHeartbeatRequest, principal: Principal
) -> Agent:
    """Records an agent's progress. Raises SidecarError: AGT_004, AGT_005 for an agent without a process."""
    stored = await reader.get(request.agent_id, principal)
    active = supervisor.find(request.agent_id)
    if active is None or not active.has_process:
        raise conflict("AGT_005", f"agent '{request.agent_id}' is not running: {stored.agent.reason}")
    return await supervisor.heartbeat(active, request)


async def discard_worktree(
    reader: AgentReader,
    supervisor: Supervisor,
    worktrees: Worktrees,
    store: AgentStore,
    agent_id: str,
    principal: Principal,
) -> Agent:
    """Removes an ended agent's worktree and branch. Raises SidecarError: AGT_004 to AGT_007."""
    async with worktrees.lock(agent_id):
        agent = (await reader.get(agent_id, principal)).agent
        if supervisor.find(agent_id) is not None:
            raise not_ended(agent_id)
        await worktrees.discard(agent)
        if supervisor.find(agent_id) is None:
            await store.save(agent)
    return agent
