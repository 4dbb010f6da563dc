"""Approvals, on Records."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cco_sidecar.storage.base import StoredApproval
from cco_sidecar.storage.records import Records
from cco_sidecar.storage.schema import approvals
from orchestra.v1.approval_service_pb2 import APPROVAL_STATUS_PENDING, Approval

REQUESTED = "approval_requested"
ANSWERED = "approval_answered"


class SqlApprovals:
    """ApprovalStore."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def add(self, approval: Approval, cause: str = "") -> bool:
        row = {
            "approval_id": approval.approval_id,
            "project_id": approval.project_id,
            "issue_id": approval.issue_id,
            "status": approval.status,
            "cause": cause or None,
            "unannounced": REQUESTED,
            "body": approval.SerializeToString(),
        }
        insert = sqlite.insert(approvals).values(row).on_conflict_do_nothing(index_elements=["cause"])
        return await self._records.write(lambda c: c.execute(insert).rowcount > 0)

    async def answer(self, approval: Approval) -> bool:
        change = sa.update(approvals).where(
            approvals.c.approval_id == approval.approval_id, approvals.c.status == APPROVAL_STATUS_PENDING
        )
        change = change.values(status=approval.status, body=approval.SerializeToString(), unannounced=ANSWERED)
        return await self._records.write(lambda c: c.execute(change).rowcount > 0)

    async def unannounced(self) -> Sequence[tuple[Approval, str]]:
        query = sa.select(approvals.c.body, approvals.c.unannounced).where(approvals.c.unannounced != "")
        rows = await self._records.read(lambda c: c.execute(query.order_by(approvals.c.number)).all())
        return [(Approval.FromString(row.body), row.unannounced) for row in rows]

    async def announced(self, approval_id: str, event_type: str) -> None:
        change = sa.update(approvals).where(
            approvals.c.approval_id == approval_id, approvals.c.unannounced == event_type
        )
        await self._records.write(lambda c: c.execute(change.values(unannounced="")))

    async def by_id(self, approval_id: str) -> Approval | None:
        query = sa.select(approvals.c.body).where(approvals.c.approval_id == approval_id)
        body = await self._records.read(lambda c: c.execute(query).scalar_one_or_none())
        return Approval.FromString(body) if body is not None else None

    async def page(
        self, project: str, *, status: int = 0, issue: str = "", before: int | None = None, limit: int = 100
    ) -> Sequence[StoredApproval]:
        query = sa.select(approvals.c.number, approvals.c.body).where(approvals.c.project_id == project)
        if status:
            query = query.where(approvals.c.status == status)
        if issue:
            query = query.where(approvals.c.issue_id == issue)
        if before is not None:
            query = query.where(approvals.c.number < before)
        query = query.order_by(approvals.c.number.desc()).limit(limit)
        rows = await self._records.read(lambda c: c.execute(query).all())
        return [StoredApproval(row.number, Approval.FromString(row.body)) for row in rows]
