"""Agents, and how far the hand-over rules have read, on Records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cco_sidecar.storage.base import AgentTotals, Spent, StoredAgent
from cco_sidecar.storage.records import Records
from cco_sidecar.storage.schema import agents, handover
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

_OPEN = (AGENT_STATUS_PENDING, AGENT_STATUS_RUNNING, AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_STUCK)


class SqlAgents:
    """AgentStore and HandoverStore."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, agent: Agent, request: SpawnAgentRequest, *, created: int) -> int:
        row = _columns(agent) | {
            "agent_id": agent.agent_id,
            "project_id": agent.project_id,
            "issue_id": agent.issue_id,
            "agent_type": agent.agent_type,
            "cause": agent.cause or None,
            "tree": agent.tree,
            "created": created,
            "unannounced": "",
            "request": request.SerializeToString(),
        }
        insert = sqlite.insert(agents).values(row).on_conflict_do_nothing(index_elements=["cause"])

        def work(connection: sa.Connection) -> int:
            done = connection.execute(insert)
            return int(done.inserted_primary_key[0]) if done.rowcount else 0  # type: ignore[index]

        return await self._records.write(work)

    async def has_cause(self, cause: str) -> bool:
        query = sa.select(agents.c.number).where(agents.c.cause == cause)
        return await self._records.read(lambda c: c.execute(query).first() is not None)

    async def save(self, agent: Agent, unannounced: str | None = None) -> None:
        values = _columns(agent) | ({} if unannounced is None else {"unannounced": unannounced})
        change = sa.update(agents).where(agents.c.agent_id == agent.agent_id).values(values)
        await self._records.write(lambda c: c.execute(change))

    async def announced(self, agent_id: str, event_type: str) -> None:
        change = sa.update(agents).where(agents.c.agent_id == agent_id, agents.c.unannounced == event_type)
        await self._records.write(lambda c: c.execute(change.values(unannounced="")))

    async def by_id(self, agent_id: str) -> StoredAgent | None:
        return next(iter(await self._rows(sa.select(agents).where(agents.c.agent_id == agent_id))), None)

    async def unfinished(self) -> Sequence[StoredAgent]:
        query = sa.select(agents).where(sa.or_(agents.c.status.in_(_OPEN), agents.c.unannounced != ""))
        return await self._rows(query.order_by(agents.c.number))

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
        query = sa.select(agents)
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
        return await self._rows(query.order_by(agents.c.number.desc()).limit(limit))

    async def totals(self) -> AgentTotals:
        query = sa.select(agents.c.status, sa.func.count()).group_by(agents.c.status)
        counts: dict[int, int] = dict(await self._records.read(lambda c: [tuple(row) for row in c.execute(query)]))
        return AgentTotals(
            completed=counts.get(AGENT_STATUS_COMPLETED, 0),
            failed=counts.get(AGENT_STATUS_FAILED, 0),
            stopped=counts.get(AGENT_STATUS_STOPPED, 0),
            spawned=sum(counts.values()),
        )

    async def spent(self, project: str, *, issue: str = "", tree: str = "", since: int = 0) -> Spent:
        sums = (sa.func.count(), sa.func.sum(agents.c.tokens), sa.func.sum(agents.c.cost_usd))
        query = sa.select(*sums).where(agents.c.project_id == project)
        if issue:
            query = query.where(agents.c.issue_id == issue)
        elif tree:
            query = query.where(agents.c.tree == tree)
        else:
            query = query.where(agents.c.tree != "", agents.c.created > since)
        count, tokens, cost = await self._records.read(lambda c: c.execute(query).one())
        return Spent(count, tokens or 0.0, cost or 0.0)

    async def positions(self) -> dict[str, int]:
        rows = await self._records.read(lambda c: c.execute(sa.select(handover)).all())
        return {row.project_id: row.seq for row in rows}

    async def set_position(self, project: str, seq: int) -> None:
        change = sqlite.insert(handover).values(project_id=project, seq=seq)
        change = change.on_conflict_do_update(index_elements=["project_id"], set_={"seq": seq})
        await self._records.write(lambda c: c.execute(change))

    async def _rows(self, query: sa.Select[Any]) -> list[StoredAgent]:
        rows = await self._records.read(lambda c: c.execute(query).all())
        return [
            StoredAgent(
                row.number, Agent.FromString(row.body), SpawnAgentRequest.FromString(row.request), row.unannounced
            )
            for row in rows
        ]


def _columns(agent: Agent) -> dict[str, Any]:
    usage = agent.usage
    return {
        "status": agent.status,
        "tokens": usage.input_tokens + usage.output_tokens + usage.cache_creation_tokens,
        "cost_usd": usage.cost_usd,
        "body": agent.SerializeToString(),
    }
