"""ContextService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from cco_sidecar.core.budget import Budget
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import not_found, permission_denied
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.context.chunks import parts_of
from cco_sidecar.services.context.explain import DEFAULT_LIMIT
from cco_sidecar.services.context.files import parse_lines
from cco_sidecar.services.context.service import Answer, ContextService, encoded
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1 import context_service_pb2 as pb


class ContextServicer:
    """Implements orchestra.v1.ContextService. Errors are raised as SidecarError."""

    def __init__(
        self,
        service: ContextService,
        clock: Clock,
        supervisor: Supervisor,
    ) -> None:
        self._service = service
        self._clock = clock
        self._supervisor = supervisor

    async def GetContext(self, request: pb.GetContextRequest, principal: Principal) -> Encoded:
        return encoded(await self._answer(request, principal), self._clock.timestamp())

    async def StreamContext(
        self, request: pb.StreamContextRequest, principal: Principal
    ) -> AsyncIterator[pb.StreamContextResponse]:
        answer = await self._answer(request, principal)
        response = pb.GetContextResponse.FromString(answer.cached.wire)
        response.timestamp.CopyFrom(self._clock.timestamp())
        for part in parts_of(response, hit=answer.hit):
            yield part

    async def GetFiles(self, request: pb.GetFilesRequest, principal: Principal) -> pb.GetFilesResponse:
        lines = parse_lines(request.lines)
        found = await self._service.files(
            request.project_id, request.agent_type, list(request.path), lines, self._worktree(principal)
        )
        return pb.GetFilesResponse(
            issue_id=request.issue_id,
            agent_type=request.agent_type,
            files=[pb.FileContent.FromString(each) for each in found],
            timestamp=self._clock.timestamp(),
        )

    async def ExplainContext(
        self, request: pb.ExplainContextRequest, principal: Principal
    ) -> pb.ExplainContextResponse:
        response = await self._service.explain(
            request.project_id,
            request.issue_id,
            request.agent_type,
            request.task,
            self._worktree(principal),
            Budget.of(request),
            request.limit if request.HasField("limit") else DEFAULT_LIMIT,
        )
        response.issue_id, response.agent_type = request.issue_id, request.agent_type
        response.timestamp.CopyFrom(self._clock.timestamp())
        return response

    async def RefreshContext(
        self, request: pb.RefreshContextRequest, principal: Principal
    ) -> pb.RefreshContextResponse:
        count = await self._service.refresh(
            request.project_id, request.issue_id, request.agent_type, force=request.force
        )
        return pb.RefreshContextResponse(refreshed=True, entries_refreshed=count, timestamp=self._clock.timestamp())

    async def ClearContextCache(
        self, request: pb.ClearContextCacheRequest, principal: Principal
    ) -> pb.ClearContextCacheResponse:
        if not request.issue_id and not principal.operator:
            raise permission_denied("only the operator can clear the whole cache; name an issue")
        gone = self._service.clear(request.project_id or None, request.issue_id, request.agent_type)
        if request.issue_id and not gone:
            raise not_found("CTX_002", f"nothing is cached for issue '{request.issue_id}'")
        return pb.ClearContextCacheResponse(
            cleared=True,
            entries_removed=len(gone),
            bytes_freed=sum(size for _, size in gone),
            timestamp=self._clock.timestamp(),
        )

    async def _answer(self, request: pb.GetContextRequest | pb.StreamContextRequest, principal: Principal) -> Answer:
        return await self._service.get(
            request.project_id,
            request.issue_id,
            request.agent_type,
            request.task,
            worktree=self._worktree(principal),
            budget=Budget.of(request),
        )

    def _worktree(self, principal: Principal) -> Path | None:
        """Returns the worktree of an agent, whose files it gets instead of the project's."""
        active = self._supervisor.find(principal.subject)
        here = active is not None and not active.record.runner_id
        return Path(active.record.worktree) if active and here and active.record.worktree else None
