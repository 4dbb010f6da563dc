"""Asking a person, and the answer: kept, announced, final."""

from __future__ import annotations

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.bus import EventBus
from cco_sidecar.core import codec, ids
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import conflict, not_found
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import ApprovalStore
from orchestra.v1.approval_service_pb2 import (
    APPROVAL_STATUS_APPROVED,
    APPROVAL_STATUS_DENIED,
    APPROVAL_STATUS_PENDING,
    Approval,
    ApprovalStatus,
)
from orchestra.v1.event_service_pb2 import Event

_TOPIC = "coordination"


class ApprovalDesk:
    def __init__(self, store: ApprovalStore, bus: EventBus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock

    async def ask(self, approval: Approval, cause: str = "") -> None:
        """Completes and stores a question; asks nothing twice for one ``cause``. Raises SidecarError."""
        approval.approval_id = ids.sortable("apr")
        approval.status = APPROVAL_STATUS_PENDING
        approval.created_at.CopyFrom(self._clock.timestamp())
        if await self._store.add(approval, cause):
            await self._announce("approval_requested", approval, approval.requested_by)

    async def answer(self, approval_id: str, principal: Principal, *, approved: bool, comment: str) -> Approval:
        """Raises SidecarError: APR_001 for no such question, APR_002 for one that has its answer."""
        approval = await self.find(approval_id)
        approval.status = APPROVAL_STATUS_APPROVED if approved else APPROVAL_STATUS_DENIED
        approval.comment = comment
        approval.answered_at.CopyFrom(self._clock.timestamp())
        if not await self._store.answer(approval):
            status = codec.enum_name(ApprovalStatus.DESCRIPTOR, (await self.find(approval_id)).status)
            raise conflict("APR_002", f"approval '{approval_id}' has been {status} before; an answer is final")
        await self._announce("approval_answered", approval, principal.subject)
        return approval

    async def find(self, approval_id: str) -> Approval:
        approval = await self._store.by_id(approval_id)
        if approval is None:
            raise unknown_approval(approval_id)
        return approval

    async def _announce(self, event_type: str, approval: Approval, publisher: str) -> None:
        data = Struct()
        data.update(
            {
                "approval_id": approval.approval_id,
                "issue_id": approval.issue_id,
                "agent_id": approval.requested_by,
                "question": approval.question,
                "status": codec.enum_name(ApprovalStatus.DESCRIPTOR, approval.status),
                "comment": approval.comment,
            }
        )
        event = Event(
            event_type=event_type,
            publisher=publisher,
            topic=_TOPIC,
            data=data,
            correlation_id=approval.approval_id,
        )
        await self._bus.publish(approval.project_id, event)


def unknown_approval(approval_id: str) -> Exception:
    return not_found("APR_001", f"there is no approval '{approval_id}'", approval_id=approval_id)
