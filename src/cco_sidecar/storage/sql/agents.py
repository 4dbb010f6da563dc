"""The agents table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cco_sidecar.core.errors import SidecarError, conflict
from cco_sidecar.storage.base import TAKEN_OVER, AgentTotals, Spent, StoredAgent, TypeTotals
from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.cluster import alive
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.schema import agents
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_NEEDS_INPUT,
    AGENT_STATUS_PENDING,
    AGENT_STATUS_RUNNING,
    AGENT_STATUS_STOPPED,
    AGENT_STATUS_STUCK,
    Agent,
    SpawnAgentRequest,
)
from orchestra.v1.event_service_pb2 import Event

OPEN = (AGENT_STATUS_PENDING, AGENT_STATUS_RUNNING, AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_STUCK)


class SqlAgents:
    """Implements AgentStore."""

    def __init__(self, database: Database, sidecar_id: str | None = None) -> None:
        """``sidecar_id``: the one that makes the changes, if others use the database too."""
        self._database = database
        self._sidecar_id = sidecar_id

    async def add(self, agent: Agent, request: SpawnAgentRequest, *, created: int) -> int:
        row = _columns(agent) | {
            "agent_id": agent.agent_id,
            "project_id": agent.project_id,
            "issue_id": agent.issue_id,
            "agent_type": agent.agent_type,
            "cause": agent.cause or None,
            "tree": agent.tree,
            "created": created,
            "sidecar_id": agent.sidecar_id,
            "request": request.SerializeToString(),
        }
        insert = self._database.insert(agents).values(row).on_conflict_do_nothing(index_elements=["cause"])
        added = insert.returning(agents.c.number)
        return await self._database.write(lambda c: c.execute(added).scalar_one_or_none()) or 0

    async def by_cause(self, cause: str) -> StoredAgent | None:
        return next(iter(await self._rows(whole(agents).where(agents.c.cause == cause))), None)

    async def has_cause(self, cause: str) -> bool:
        query = sa.select(agents.c.number).where(agents.c.cause == cause)
        return await self._database.read(lambda c: c.execute(query).first() is not None)

    async def save(self, agent: Agent, event: Event | None = None) -> Announcement | None:
        whose = agent.sidecar_id if self._sidecar_id is None else self._sidecar_id
        this = (agents.c.agent_id == agent.agent_id, agents.c.sidecar_id == whose)
        change = sa.update(agents).where(*this).values(_columns(agent))

        def work(connection: sa.Connection) -> Announcement | None:
            if not connection.execute(change).rowcount:
                raise taken_over(agent.agent_id)
            return enqueue(connection, agent.project_id, event) if event is not None else None

        return await self._database.write(work)

    async def move(self, agent: Agent, before: Agent) -> bool:
        this: list[sa.ColumnElement[bool]] = [
            agents.c.agent_id == agent.agent_id,
            agents.c.body == before.SerializeToString(),
        ]
        if before.sidecar_id != agent.sidecar_id:
            # It may have come back.
            this.append(sa.literal(before.sidecar_id).not_in(alive()))
        change = sa.update(agents).where(*this).values(_columns(agent) | {"sidecar_id": agent.sidecar_id})
        return bool(await self._database.write(lambda c: c.execute(change).rowcount))

    async def by_id(self, agent_id: str) -> StoredAgent | None:
        return next(iter(await self._rows(whole(agents).where(agents.c.agent_id == agent_id))), None)

    async def sidecar_of(self, agent_id: str) -> str:
        return (await self.home_of(agent_id))[0]

    async def home_of(self, agent_id: str) -> tuple[str, str]:
        query = sa.select(agents.c.sidecar_id, agents.c.project_id).where(agents.c.agent_id == agent_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return (row.sidecar_id, row.project_id) if row is not None else ("", "")

    async def unfinished(self, sidecar_id: str | None = None) -> Sequence[StoredAgent]:
        query = whole(agents).where(agents.c.status.in_(OPEN)).order_by(agents.c.number)
        return await self._rows(query if sidecar_id is None else query.where(agents.c.sidecar_id == sidecar_id))

    async def page(
        self,
        project: str | None,
        *,
        status: int = 0,
        agent_type: str = "",
        issue: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[StoredAgent]:
        query = sa.select(agents.c.number)
        for column, wanted in (
            (agents.c.project_id, project),
            (agents.c.status, status),
            (agents.c.agent_type, agent_type),
            (agents.c.issue_id, issue),
        ):
            if wanted:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(agents.c.number < before)
        # Numbers first, so that only the rows of the page are read whole.
        page = query.order_by(agents.c.number.desc()).limit(limit).subquery()
        rows = whole(agents).join(page, page.c.number == agents.c.number)
        return await self._rows(rows.order_by(agents.c.number.desc()))

    async def totals(self) -> AgentTotals:
        query = sa.select(agents.c.status, sa.func.count()).group_by(agents.c.status)
        counts: dict[int, int] = dict(await self._database.read(lambda c: [tuple(row) for row in c.execute(query)]))
        return AgentTotals(
            completed=counts.get(AGENT_STATUS_COMPLETED, 0),
            failed=counts.get(AGENT_STATUS_FAILED, 0),
            stopped=counts.get(AGENT_STATUS_STOPPED, 0),
            spawned=sum(counts.values()),
        )

    async def totals_by_type(self) -> Sequence[TypeTotals]:
        sums = (sa.func.count(), sa.func.sum(agents.c.tokens), sa.func.sum(agents.c.cost_usd))
        query = sa.select(agents.c.agent_type, agents.c.status, *sums).group_by(agents.c.agent_type, agents.c.status)
        return await self._database.read(lambda c: [TypeTotals(*row) for row in c.execute(query)])

    async def spent(self, project: str, *, issue: str = "", tree: str = "", since: int = 0) -> Spent:
        sums = (sa.func.count(), sa.func.sum(agents.c.tokens), sa.func.sum(agents.c.cost_usd))
        query = sa.select(*sums).where(agents.c.project_id == project)
        if issue:
            query = query.where(agents.c.issue_id == issue)
        elif tree:
            query = query.where(agents.c.tree == tree)
        else:
            query = query.where(agents.c.tree != "", agents.c.created > since)
        count, tokens, cost = await self._database.read(lambda c: c.execute(query).one())
        return Spent(count, tokens or 0.0, cost or 0.0)

    async def _rows(self, query: sa.Select[Any]) -> list[StoredAgent]:
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [
            StoredAgent(row.number, Agent.FromString(row.body), SpawnAgentRequest.FromString(row.request))
            for row in rows
        ]


def taken_over(agent_id: str) -> SidecarError:
    """Returns the error (AGT_010) for a change by a sidecar that no longer runs the agent."""
    return conflict(TAKEN_OVER, f"another sidecar has taken agent '{agent_id}' over", agent_id=agent_id)


def _columns(agent: Agent) -> dict[str, Any]:
    usage = agent.usage
    return {
        "status": agent.status,
        "tokens": usage.input_tokens + usage.output_tokens + usage.cache_creation_tokens,
        "cost_usd": usage.cost_usd,
        "body": agent.SerializeToString(),
    }
