"""What an agent changed in its worktree."""

from __future__ import annotations

import asyncio

from cco_sidecar.core.principal import Principal
from cco_sidecar.repository import masking
from cco_sidecar.runners.worktrees import Worktrees
from cco_sidecar.services.agents.read import AgentReader, require_own_logs
from orchestra.v1.agent_service_pb2 import Agent, GetAgentDiffResponse

MAX_DIFF_BYTES = 512 * 1024
MAX_UNTRACKED = 1000


async def agent_diff(
    reader: AgentReader, worktrees: Worktrees, agent_id: str, principal: Principal
) -> GetAgentDiffResponse:
    """Returns the diff of an agent's worktree; empty without one. Raises SidecarError: AGT_001 if git cannot be run,
    AGT_004, AUTH_003."""
    agent = (await reader.get(agent_id, principal)).agent
    require_own_logs(principal, agent)
    return await asyncio.to_thread(_diff, worktrees, agent)


def _diff(worktrees: Worktrees, agent: Agent) -> GetAgentDiffResponse:
    diff, untracked = worktrees.diff(agent)
    cut = len(diff) > MAX_DIFF_BYTES
    if cut:
        # At the end of a line; what a secret is cut in half in is masked like a whole one.
        diff = diff[: diff.rfind(b"\n", 0, MAX_DIFF_BYTES) + 1]
    text = masking.mask(diff.decode(errors="replace"))
    return GetAgentDiffResponse(
        agent_id=agent.agent_id, diff=text, truncated=cut, untracked_files=untracked[:MAX_UNTRACKED]
    )
