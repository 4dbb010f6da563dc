"""Approvals: questions to a person, and the answers."""

from __future__ import annotations

from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import codec, ids, security_log
from cco_sidecar.core.announcements import APPROVAL_ANSWERED, APPROVAL_REQUESTED, of_approval
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import conflict, not_found
from cco_sidecar.storage.base import ApprovalStore
from orchestra.v1.approval_service_pb2 import (
    APPROVAL_STATUS_APPROVED,
    APPROVAL_STATUS_DENIED,
    APPROVAL_STATUS_PENDING,
    Approval,
    ApprovalStatus,
)


class Approvals:
    """Stores questions and answers, and announces both as events."""

    def __init__(self, store: ApprovalStore, outbox: Outbox, clock: Clock) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._background = Background()

    async def ask(self, approval: Approval, cause: str = "") -> None:
        """Completes, stores and announces a question; does nothing if ``cause`` already has one.

        Runs to completion even if the caller is cancelled. Raises SidecarError.
        """
        await self._background.finish(self._ask(approval, cause))

    async def _ask(self, approval: Approval, cause: str) -> None:
        approval.approval_id = ids.sortable("apr")
        approval.status = APPROVAL_STATUS_PENDING
        approval.created_at.CopyFrom(self._clock.timestamp())
        if asked := await self._store.add(approval, of_approval(approval, APPROVAL_REQUESTED), cause):
            await self._outbox.publish(asked)

    async def answer(self, approval_id: str, *, approved: bool, comment: str) -> Approval:
        """Stores and announces an answer, which is final.

        Runs to completion even if the caller is cancelled. Raises SidecarError: APR_001 for an unknown approval,
        APR_002 if it is already answered.
        """
        return await self._background.finish(self._answer(approval_id, approved=approved, comment=comment))

    async def _answer(self, approval_id: str, *, approved: bool, comment: str) -> Approval:
        approval = await self.find(approval_id)
        approval.status = APPROVAL_STATUS_APPROVED if approved else APPROVAL_STATUS_DENIED
        approval.comment = comment
        approval.answered_at.CopyFrom(self._clock.timestamp())
        answered = await self._store.answer(approval, of_approval(approval, APPROVAL_ANSWERED))
        if answered is None:
            status = codec.enum_name(ApprovalStatus.DESCRIPTOR, (await self.find(approval_id)).status)
            raise conflict("APR_002", f"approval '{approval_id}' is already {status}; an answer is final")
        security_log.record("approval_answered", approval_id=approval_id, approved=approved)
        await self._outbox.publish(answered)
        return approval

    async def find(self, approval_id: str) -> Approval:
        """Returns an approval. Raises SidecarError (APR_001)."""
        approval = await self._store.by_id(approval_id)
        if approval is None:
            raise unknown_approval(approval_id)
        return approval

    async def close(self) -> None:
        """Waits for the writes that have begun."""
        await self._background.drain()


def unknown_approval(approval_id: str) -> Exception:
    """Returns the error for an unknown approval (APR_001)."""
    return not_found(
        "APR_001",
        f"approval '{approval_id}' not found; list approvals with 'cco approvals list'",
        approval_id=approval_id,
    )
