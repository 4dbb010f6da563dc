"""Agents as their callers see them."""

from __future__ import annotations

from cco_sidecar.core.errors import not_found, permission_denied
from cco_sidecar.core.paging import Page, number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import AgentStore, StoredAgent
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.agent_service_pb2 import Agent, ListAgentsRequest


class AgentReader:
    """Active agents come from memory, where the record is newer than on disk."""

    def __init__(self, store: AgentStore, supervisor: Supervisor) -> None:
        self._store = store
        self._supervisor = supervisor

    async def get(self, agent_id: str, principal: Principal) -> StoredAgent:
        """Raises SidecarError (AGT_004) for one that does not exist, or belongs to another project."""
        stored = await self._store.by_id(agent_id)
        if stored is None or not (principal.operator or stored.agent.project_id == principal.project_id):
            raise not_found(
                "AGT_004", f"there is no agent '{agent_id}'; 'cco agent list' names them", agent_id=agent_id
            )
        return self._seen_by(principal, stored)

    async def page(self, request: ListAgentsRequest, project: str | None, principal: Principal) -> Page[StoredAgent]:
        """Newest first; ``project`` None stands for all."""
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
        if not may_read_logs(principal, agent):
            del agent.last_output[:]
        return stored._replace(agent=agent)


def may_read_logs(principal: Principal, agent: Agent) -> bool:
    return principal.operator or principal.architect or principal.subject == agent.agent_id


def require_own_logs(principal: Principal, agent: Agent) -> None:
    """Raises SidecarError (AUTH_003)."""
    if not may_read_logs(principal, agent):
        raise permission_denied("an agent reads its own logs only", agent_id=principal.subject)
