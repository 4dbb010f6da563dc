"""Asking a person, and the answer: kept, announced, final."""

from __future__ import annotations

import asyncio
import logging

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.bus.bus import EventBus
from cco_sidecar.core import codec, ids, security_log
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, not_found
from cco_sidecar.core.principal import OPERATOR
from cco_sidecar.storage.approvals import ANSWERED, REQUESTED
from cco_sidecar.storage.base import ApprovalStore
from orchestra.v1.approval_service_pb2 import (
    APPROVAL_STATUS_APPROVED,
    APPROVAL_STATUS_DENIED,
    APPROVAL_STATUS_PENDING,
    Approval,
    ApprovalStatus,
)
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

_TOPIC = "coordination"
_RETRY_SECONDS = 5.0


class ApprovalDesk:
    def __init__(self, store: ApprovalStore, bus: EventBus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._finishing = Background()
        self._retries = Background()

    async def ask(self, approval: Approval, cause: str = "") -> None:
        """Completes and stores a question; asks nothing twice for one ``cause``. Raises SidecarError."""
        await self._finishing.finish(self._ask(approval, cause))

    async def _ask(self, approval: Approval, cause: str) -> None:
        approval.approval_id = ids.sortable("apr")
        approval.status = APPROVAL_STATUS_PENDING
        approval.created_at.CopyFrom(self._clock.timestamp())
        if await self._store.add(approval, cause):
            await self._announce(approval, REQUESTED)

    async def recover(self) -> None:
        """Publishes what a crash kept back."""
        for approval, event_type in await self._store.unannounced():
            if self._bus.came_out(approval.project_id, event_type, approval.approval_id):
                await self._store.announced(approval.approval_id, event_type)
            else:
                await self._announce(approval, event_type)

    async def answer(self, approval_id: str, *, approved: bool, comment: str) -> Approval:
        """Raises SidecarError: APR_001 for no such question, APR_002 for one that has its answer."""
        return await self._finishing.finish(self._answer(approval_id, approved=approved, comment=comment))

    async def _answer(self, approval_id: str, *, approved: bool, comment: str) -> Approval:
        approval = await self.find(approval_id)
        approval.status = APPROVAL_STATUS_APPROVED if approved else APPROVAL_STATUS_DENIED
        approval.comment = comment
        approval.answered_at.CopyFrom(self._clock.timestamp())
        if not await self._store.answer(approval):
            status = codec.enum_name(ApprovalStatus.DESCRIPTOR, (await self.find(approval_id)).status)
            raise conflict("APR_002", f"approval '{approval_id}' has been {status} before; an answer is final")
        security_log.record("approval_answered", approval_id=approval_id, approved=approved)
        await self._announce(approval, ANSWERED)
        return approval

    async def find(self, approval_id: str) -> Approval:
        approval = await self._store.by_id(approval_id)
        if approval is None:
            raise unknown_approval(approval_id)
        return approval

    async def _announce(self, approval: Approval, event_type: str) -> None:
        """The answer is given whether or not its event can be written now: it is tried again until it is."""
        try:
            await self._bus.publish(approval.project_id, _event(approval, event_type))
        except SidecarError as problem:
            log.warning("%s of %s is still to come: %s", event_type, approval.approval_id, problem)
            self._retries.start(self._announce_later(approval, event_type), f"announcing {approval.approval_id}")
            return
        try:
            await self._store.announced(approval.approval_id, event_type)
        except SidecarError as problem:
            # It is out: the next start sees that by the event itself.
            log.warning("that %s of %s came out is not on disk: %s", event_type, approval.approval_id, problem)

    async def _announce_later(self, approval: Approval, event_type: str) -> None:
        await asyncio.sleep(_RETRY_SECONDS)
        await self._announce(approval, event_type)

    async def close(self) -> None:
        """What is still to come is at the next start."""
        await self._retries.end()
        await self._finishing.drain()


def _event(approval: Approval, event_type: str) -> Event:
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
    return Event(
        event_type=event_type,
        publisher=approval.requested_by if event_type == REQUESTED else OPERATOR,
        topic=_TOPIC,
        data=data,
        correlation_id=approval.approval_id,
    )


def unknown_approval(approval_id: str) -> Exception:
    return not_found(
        "APR_001", f"there is no approval '{approval_id}'; 'cco approvals list' names them", approval_id=approval_id
    )
