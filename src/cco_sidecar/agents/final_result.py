"""The result of an agent that has ended: the one that it stored, or else its program's last answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cco_sidecar.agents.access import principal_of
from cco_sidecar.agents.worktrees import Worktrees
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import WRITE_RESULTS, Principal
from cco_sidecar.storage.base import ResultStore
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.result_service_pb2 import (
    RESULT_STATUS_SUCCESS,
    AgentResult,
    CreateResultRequest,
    CreateResultResponse,
    FileEntry,
)

log = logging.getLogger(__name__)

Store = Callable[[CreateResultRequest, Principal], Awaitable[CreateResultResponse]]
_LONGEST_DECISION = 500
_LONGEST_ANSWER = 100_000


def result_finder(
    results: ResultStore, store: Store, types: AgentTypes, worktrees: Worktrees
) -> Callable[[Agent, str, str], Awaitable[str]]:
    """``find(agent, session, answer)`` is the id of the newest result of a run. For one that stored none, ``answer`` is
    stored as such, with what git knows of its files; empty without an answer, or for a type that may not store."""

    async def find(agent: Agent, session: str, answer: str) -> str:
        try:
            # Asked here, not remembered: its event may be still to come, or came out before a crash.
            found = await results.newest_of(session)
        except SidecarError as problem:
            log.warning("the result of agent %s could not be looked up: %s", agent.agent_id, problem)
            return ""
        known = types.get(agent.agent_type)
        if found or not answer or known is None or WRITE_RESULTS not in known.permissions:
            return found
        result = AgentResult(
            status=RESULT_STATUS_SUCCESS,
            decisions=[answer.strip().partition("\n")[0][:_LONGEST_DECISION]],
            artifacts={"final_message": answer[:_LONGEST_ANSWER]},
            metrics=_metrics(agent),
        )
        try:
            if agent.worktree:
                changed = await asyncio.to_thread(worktrees.changed_files, agent)
                result.files_created.extend(FileEntry(path=path) for path in changed.get("A", ()))
                result.files_modified.extend(FileEntry(path=path) for path in changed.get("M", ()))
                result.files_deleted.extend(changed.get("D", ()))
            request = CreateResultRequest(agent_type=agent.agent_type, issue_id=agent.issue_id, result=result)
            own = principal_of(known, agent.agent_id, agent.issue_id, agent.project_id)
            return (await store(request, own)).id
        except SidecarError as problem:
            log.warning("the answer of agent %s is not kept as a result: %s", agent.agent_id, problem)
            return ""

    return find


def _metrics(agent: Agent) -> dict[str, float]:
    usage = agent.usage
    found = {
        "execution_time_ms": ("duration_ms",),
        "tokens_used": ("input_tokens", "output_tokens", "cache_creation_tokens"),
        "cost_usd": ("cost_usd",),
    }
    return {
        name: sum(getattr(usage, field) for field in fields)
        for name, fields in found.items()
        if any(usage.HasField(field) for field in fields)
    }
