"""ApprovalService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from cco_sidecar.core.paging import number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import ApprovalStore
from cco_sidecar.supervision.approvals import Approvals, unknown_approval
from orchestra.v1 import approval_service_pb2 as pb


class ApprovalServicer:
    """Implements orchestra.v1.ApprovalService. Errors are raised as SidecarError."""

    def __init__(self, approvals: Approvals, store: ApprovalStore) -> None:
        self._approvals = approvals
        self._store = store

    async def RequestApproval(
        self, request: pb.RequestApprovalRequest, principal: Principal
    ) -> pb.RequestApprovalResponse:
        approval = pb.Approval(
            project_id=request.project_id,
            issue_id=request.issue_id,
            requested_by=principal.subject,
            question=request.question,
            data=request.data,
        )
        await self._approvals.ask(approval)
        return pb.RequestApprovalResponse(approval=approval)

    async def GetApproval(self, request: pb.GetApprovalRequest, principal: Principal) -> pb.GetApprovalResponse:
        approval = await self._approvals.find(request.approval_id)
        if request.project_id not in ("", approval.project_id):
            raise unknown_approval(request.approval_id)
        return pb.GetApprovalResponse(approval=approval)

    async def ListApprovals(self, request: pb.ListApprovalsRequest, principal: Principal) -> pb.ListApprovalsResponse:
        found = await paged(
            lambda before, limit: self._store.page(
                request.project_id,
                status=request.status,
                issue=request.issue_id,
                before=before,
                limit=limit,
            ),
            number_of(request.cursor),
            request.limit,
        )
        return pb.ListApprovalsResponse(
            approvals=[stored.approval for stored in found.items], next_cursor=found.next_cursor
        )

    async def AnswerApproval(
        self, request: pb.AnswerApprovalRequest, principal: Principal
    ) -> pb.AnswerApprovalResponse:
        approval = await self._approvals.answer(request.approval_id, approved=request.approved, comment=request.comment)
        return pb.AnswerApprovalResponse(approval=approval)
