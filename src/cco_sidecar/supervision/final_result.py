"""The result of an ended agent: the one that it stored, or else its program's last answer."""

from __future__ import annotations

import logging

from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import WRITE_RESULTS
from cco_sidecar.runners.worktrees import Worktrees
from cco_sidecar.storage.base import ResultStore
from cco_sidecar.supervision.results import ResultRecorder
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.result_service_pb2 import RESULT_STATUS_SUCCESS, AgentResult, FileEntry, Result

log = logging.getLogger(__name__)

_MAX_DECISION = 500
_MAX_ANSWER = 100_000


class FinalResults:
    """Finds or creates the result of an agent that has ended."""

    def __init__(
        self, store: ResultStore, recorder: ResultRecorder, types: AgentTypes, worktrees: Worktrees, clock: Clock
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._types = types
        self._worktrees = worktrees
        self._clock = clock

    async def is_of(self, agent: Agent, result_id: str) -> bool:
        """Whether a stored result is the agent's."""
        try:
            stored = await self._store.by_id(agent.project_id, result_id)
        except SidecarError as problem:
            log.warning("could not look up the result of agent %s: %s", agent.agent_id, problem)
            return False
        return stored is not None and stored.result.agent_id == agent.agent_id

    async def find_or_store(self, agent: Agent, session: str, answer: str) -> str:
        """Returns the id of a run's newest result.

        If the run stored none, ``answer`` is stored as its result, with the changed files as git reports them. Returns
        an empty id if there is no answer, if the type may not store results, or if storing fails.
        """
        try:
            # Query the store: the result's event may not have been delivered yet, or was delivered before a crash.
            found = await self._store.newest_of(session)
        except SidecarError as problem:
            log.warning("could not look up the result of agent %s: %s", agent.agent_id, problem)
            return ""
        known = self._types.get(agent.agent_type)
        if found or not answer or known is None or WRITE_RESULTS not in known.permissions:
            return found
        try:
            result = Result(
                id=ids.sortable("res"),
                agent_id=agent.agent_id,
                agent_type=agent.agent_type,
                issue_id=agent.issue_id,
                project_id=agent.project_id,
                result=await self._work(agent, answer),
                timestamp=self._clock.timestamp(),
                branch=agent.branch or None,
            )
            await self._recorder.record(result, session, answer=True)
            return result.id
        except SidecarError as problem:
            log.warning("could not store the answer of agent %s as a result: %s", agent.agent_id, problem)
            return ""

    async def _work(self, agent: Agent, answer: str) -> AgentResult:
        work = AgentResult(
            status=RESULT_STATUS_SUCCESS,
            decisions=[answer.strip().partition("\n")[0][:_MAX_DECISION]],
            artifacts={"final_message": answer[:_MAX_ANSWER]},
            metrics=_metrics(agent),
        )
        if agent.worktree:
            changed = await self._worktrees.changed_files(agent)
            work.files_created.extend(FileEntry(path=path) for path in changed.get("A", ()))
            work.files_modified.extend(FileEntry(path=path) for path in changed.get("M", ()))
            work.files_deleted.extend(changed.get("D", ()))
        return work


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
