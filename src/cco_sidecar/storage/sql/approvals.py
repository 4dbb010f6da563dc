"""The approvals table."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cco_sidecar.storage.base import StoredApproval
from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.schema import approvals
from orchestra.v1.approval_service_pb2 import APPROVAL_STATUS_PENDING, Approval
from orchestra.v1.event_service_pb2 import Event


class SqlApprovals:
    """Implements ApprovalStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, approval: Approval, event: Event, cause: str = "") -> Announcement | None:
        row = {
            "approval_id": approval.approval_id,
            "project_id": approval.project_id,
            "issue_id": approval.issue_id,
            "status": approval.status,
            "cause": cause or None,
            "body": approval.SerializeToString(),
        }
        insert = self._database.insert(approvals).values(row).on_conflict_do_nothing(index_elements=["cause"])
        return await self._change(insert.returning(approvals.c.number), approval, event)

    async def answer(self, approval: Approval, event: Event) -> Announcement | None:
        change = sa.update(approvals).where(
            approvals.c.approval_id == approval.approval_id, approvals.c.status == APPROVAL_STATUS_PENDING
        )
        change = change.values(status=approval.status, body=approval.SerializeToString())
        return await self._change(change.returning(approvals.c.number), approval, event)

    async def _change(self, change: sa.Executable, approval: Approval, event: Event) -> Announcement | None:
        """Makes a change and enqueues its event in one transaction; None if no row changed."""

        def work(connection: sa.Connection) -> Announcement | None:
            changed = connection.execute(change).first() is not None
            return enqueue(connection, approval.project_id, event) if changed else None

        return await self._database.write(work)

    async def by_id(self, approval_id: str) -> Approval | None:
        query = whole(approvals).where(approvals.c.approval_id == approval_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return Approval.FromString(row.body) if row is not None else None

    async def page(
        self, project: str, *, status: int = 0, issue: str = "", before: int | None = None, limit: int = 100
    ) -> Sequence[StoredApproval]:
        query = whole(approvals).where(approvals.c.project_id == project)
        if status:
            query = query.where(approvals.c.status == status)
        if issue:
            query = query.where(approvals.c.issue_id == issue)
        if before is not None:
            query = query.where(approvals.c.number < before)
        query = query.order_by(approvals.c.number.desc()).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [StoredApproval(row.number, Approval.FromString(row.body)) for row in rows]
