"""ApprovalService: unpack, call, pack."""

from __future__ import annotations

from cco_sidecar.approvals.desk import ApprovalDesk, unknown_approval
from cco_sidecar.auth.policy import own_issue, project_of
from cco_sidecar.core.paging import number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import ApprovalStore
from orchestra.v1 import approval_service_pb2 as pb


class ApprovalServicer:
    def __init__(self, desk: ApprovalDesk, store: ApprovalStore, default_project: str) -> None:
        self._desk = desk
        self._store = store
        self._project = default_project

    async def RequestApproval(
        self, request: pb.RequestApprovalRequest, principal: Principal
    ) -> pb.RequestApprovalResponse:
        project = project_of(principal, request.project_id, self._project)
        issue = request.issue_id or principal.issue_id
        if issue:
            own_issue(principal, issue, writing=True)
        approval = pb.Approval(
            project_id=project,
            issue_id=issue,
            requested_by=principal.subject,
            question=request.question,
            data=request.data,
        )
        await self._desk.ask(approval)
        return pb.RequestApprovalResponse(approval=approval)

    async def GetApproval(self, request: pb.GetApprovalRequest, principal: Principal) -> pb.GetApprovalResponse:
        approval = await self._desk.find(request.approval_id)
        project = project_of(principal, request.project_id, approval.project_id)
        if approval.project_id != project:
            raise unknown_approval(request.approval_id)
        return pb.GetApprovalResponse(approval=approval)

    async def ListApprovals(self, request: pb.ListApprovalsRequest, principal: Principal) -> pb.ListApprovalsResponse:
        found = await paged(
            lambda before, limit: self._store.page(
                project_of(principal, request.project_id, self._project),
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
        approval = await self._desk.answer(request.approval_id, approved=request.approved, comment=request.comment)
        return pb.AnswerApprovalResponse(approval=approval)
