"""The results table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cco_sidecar.core.errors import OutcomeUnknown
from cco_sidecar.storage.base import MAX_OUTCOMES, PAGE_BYTES, Added, Outcome, ResultTotals, StoredResult
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.knowledge import SqlKnowledge
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.pages import up_to
from cco_sidecar.storage.sql.schema import result_keys, results
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry
from orchestra.v1.result_service_pb2 import RESULT_STATUS_FAILED, Result

# Transactions may become visible in a different order than they took their numbers, so this many are looked at.
_OVERLAP = 256


class SqlResults:
    """Implements ResultStore."""

    def __init__(self, database: Database, knowledge: SqlKnowledge) -> None:
        self._database = database
        self._knowledge = knowledge
        self._versions: Counter[tuple[str, str]] = Counter()
        self._bytes: dict[str, int] = {}

    async def add(
        self, result: Result, session: str, event: Event, key: str = "", learned: Sequence[KnowledgeEntry] = ()
    ) -> Added | StoredResult:
        metrics = result.result.metrics
        row = {
            "id": result.id,
            "project_id": result.project_id,
            "issue_id": result.issue_id,
            "agent_type": result.agent_type,
            "session": session,
            "status": result.result.status,
            "execution_ms": _milliseconds(metrics.get("execution_time_ms")),
            "body": result.SerializeToString(),
        }

        def work(connection: sa.Connection) -> Added | StoredResult:
            # The results of an issue are committed in the order of their numbers.
            self._database.lock(connection, f"results {result.project_id} {result.issue_id}")
            if key and (first := self._first(connection, result, session, key)) is not None:
                return first
            inserted = connection.execute(sa.insert(results).values(row)).inserted_primary_key
            assert inserted is not None
            self._knowledge.insert(connection, learned)
            return Added(int(inserted[0]), enqueue(connection, result.project_id, event))

        try:
            added = await self._database.write(work)
        except OutcomeUnknown:
            self._bytes.pop(result.project_id, None)
            raise
        else:
            if result.project_id in self._bytes and isinstance(added, Added):
                self._bytes[result.project_id] += result.ByteSize()
            return added
        finally:
            self._versions[result.project_id, result.issue_id] += 1
            self._versions[result.project_id, ""] += 1
            if learned:
                self._knowledge.changed(result.project_id)

    def _first(self, connection: sa.Connection, result: Result, session: str, key: str) -> StoredResult | None:
        """Returns the result that was stored with the key; if there is none, remembers this one."""
        names = {"project_id": result.project_id, "owner": session or result.agent_id, "idempotency_key": key}
        insert = self._database.insert(result_keys).values(names | {"result_id": result.id})
        added = insert.on_conflict_do_nothing().returning(result_keys.c.result_id)
        if connection.execute(added).first() is not None:
            return None
        known = whole(result_keys).where(*(result_keys.c[name] == value for name, value in names.items()))
        first = connection.execute(known).one().result_id
        row = connection.execute(whole(results).where(results.c.id == first)).one()
        return StoredResult(row.number, Result.FromString(row.body))

    async def by_id(self, project: str, result_id: str) -> StoredResult | None:
        query = whole(results).where(results.c.project_id == project, results.c.id == result_id)
        return next(iter(await self._rows(query)), None)

    async def newest(self, project: str, issue: str, agent_type: str) -> StoredResult | None:
        return next(iter(await self.page(project, issue=issue, agent_type=agent_type, limit=1)), None)

    async def newest_of(self, session: str) -> str:
        if not session:
            return ""
        query = whole(results).where(results.c.session == session).order_by(results.c.number.desc()).limit(1)
        return next((each.result.id for each in await self._rows(query)), "")

    async def page(
        self,
        project: str,
        *,
        issue: str = "",
        agent_type: str = "",
        before: int | None = None,
        limit: int = 100,
        latest: bool = False,
    ) -> Sequence[StoredResult]:
        # Select numbers and sizes first: sorting rows with their bodies would read every body.
        query = sa.select(results.c.number, sa.func.length(results.c.body)).where(results.c.project_id == project)
        if issue:
            query = query.where(results.c.issue_id == issue)
        if agent_type:
            query = query.where(results.c.agent_type == agent_type)
        if latest:
            key = (results.c.project_id, results.c.issue_id, results.c.agent_type)
            query = query.where(results.c.number.in_(sa.select(sa.func.max(results.c.number)).group_by(*key)))
        if before is not None:
            query = query.where(results.c.number < before)
        query = query.order_by(results.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> list[StoredResult]:
            numbers = up_to(connection.execute(query), PAGE_BYTES)
            rows = connection.execute(whole(results).where(results.c.number.in_(numbers))).all()
            found = sorted(rows, key=lambda row: -int(row.number))
            return [StoredResult(row.number, Result.FromString(row.body)) for row in found]

        return await self._database.read(work)

    async def outcomes(self, project: str, issue: str, *, before: str) -> Sequence[Outcome]:
        number = sa.select(results.c.number).where(results.c.id == before).scalar_subquery()
        query = sa.select(results.c.agent_type, results.c.status).where(
            results.c.project_id == project, results.c.issue_id == issue, results.c.number < number
        )
        query = query.order_by(results.c.number.desc()).limit(MAX_OUTCOMES)
        return await self._database.read(lambda c: [Outcome(*row) for row in c.execute(query)])

    async def stored_bytes(self, project: str) -> int:
        if self._database.shared or project not in self._bytes:
            size = sa.func.coalesce(sa.func.sum(sa.func.length(results.c.body)), 0)
            query = sa.select(size).where(results.c.project_id == project)
            self._bytes[project] = await self._database.read(lambda c: int(c.execute(query).scalar_one()))
        return self._bytes[project]

    async def totals(self) -> ResultTotals:
        failed = sa.func.count().filter(results.c.status == RESULT_STATUS_FAILED)
        query = sa.select(sa.func.count(), failed, sa.func.avg(results.c.execution_ms)).select_from(results)
        count, failures, mean = await self._database.read(lambda c: c.execute(query).one())
        return ResultTotals(count - failures, failures, mean or 0.0)

    async def version(self, project: str, issue: str) -> int:
        if not self._database.shared:
            return self._versions[project, issue]
        # Not only the newest: a transaction of another sidecar may become visible after one with higher numbers.
        newest = sa.select(results.c.number).where(results.c.project_id == project)
        if issue:
            newest = newest.where(results.c.issue_id == issue)
        newest = newest.order_by(results.c.number.desc()).limit(_OVERLAP)
        query = sa.select(sa.func.coalesce(sa.func.sum(newest.subquery().c.number), 0))
        return int(await self._database.read(lambda c: c.execute(query).scalar_one()))

    async def _rows(self, query: sa.Select[Any]) -> list[StoredResult]:
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [StoredResult(row.number, Result.FromString(row.body)) for row in rows]


def _milliseconds(reported: float | None) -> float | None:
    """Returns the value if it is a plausible duration; agents may report anything."""
    return reported if reported is not None and 0 <= reported <= 1e12 else None
