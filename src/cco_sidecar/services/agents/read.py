"""Reads agents as their callers may see them."""

from __future__ import annotations

from cco_sidecar.core.errors import not_found, permission_denied
from cco_sidecar.core.paging import Page, number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import AgentStore, StoredAgent
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.agent_service_pb2 import Agent, ListAgentsRequest


class AgentReader:
    """Reads active agents from memory, where the record is newer than on disk, and ended ones from the store."""

    def __init__(self, store: AgentStore, supervisor: Supervisor) -> None:
        self._store = store
        self._supervisor = supervisor

    async def get(self, agent_id: str, principal: Principal) -> StoredAgent:
        """Returns an agent. Raises SidecarError (AGT_004) if it does not exist or belongs to another project."""
        stored = await self._store.by_id(agent_id)
        if stored is None or not (principal.operator or stored.agent.project_id == principal.project_id):
            raise not_found(
                "AGT_004", f"agent '{agent_id}' not found; list agents with 'cco agent list'", agent_id=agent_id
            )
        return self._seen_by(principal, stored)

    async def page(self, request: ListAgentsRequest, project: str | None, principal: Principal) -> Page[StoredAgent]:
        """Returns a page of agents, newest first; ``project`` None means all projects."""
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
        return Page([self._seen_by(principal, each) for each in found.items], found.next_cursor)

    def _seen_by(self, principal: Principal, stored: StoredAgent) -> StoredAgent:
        agent = stored.agent
        active = self._supervisor.find(agent.agent_id)
        if active is not None:
            agent = Agent()
            agent.CopyFrom(active.record)
            agent.queue_position = self._supervisor.position(agent.agent_id)
            if agent.queue_position:
                agent.reason = self._supervisor.placement.waits_for(active)
        if not may_read_logs(principal, agent):
            del agent.last_output[:]
        return stored._replace(agent=agent)


def may_read_logs(principal: Principal, agent: Agent) -> bool:
    """Whether the caller may read the agent's output."""
    return principal.operator or principal.architect or principal.subject == agent.agent_id


def require_own_logs(principal: Principal, agent: Agent) -> None:
    """Raises SidecarError (AUTH_003) if the caller may not read the agent's output."""
    if not may_read_logs(principal, agent):
        raise permission_denied("an agent can read only its own output and changes", agent_id=principal.subject)
