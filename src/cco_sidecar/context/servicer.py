"""ContextService: unpack, call, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from cco_sidecar.auth.policy import own_issue, project_of
from cco_sidecar.context.parts import parts_of
from cco_sidecar.context.service import Answer, ContextService, encoded
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import not_found, permission_denied
from cco_sidecar.core.principal import Principal
from orchestra.v1 import context_service_pb2 as pb


class ContextServicer:
    def __init__(
        self,
        service: ContextService,
        clock: Clock,
        default_project: str,
        worktree_of: Callable[[str], Path | None],
    ) -> None:
        """``worktree_of(agent_id)``: where a running agent works, when that is not the project's own directory."""
        self._service = service
        self._clock = clock
        self._project = default_project
        self._worktree_of = worktree_of

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

    async def RefreshContext(
        self, request: pb.RefreshContextRequest, principal: Principal
    ) -> pb.RefreshContextResponse:
        project = project_of(principal, request.project_id, self._project)
        own_issue(principal, request.issue_id)
        if request.agent_type:
            own_type(principal, request.agent_type)
        count = await self._service.refresh(project, request.issue_id, request.agent_type, force=request.force)
        return pb.RefreshContextResponse(refreshed=True, entries_refreshed=count, timestamp=self._clock.timestamp())

    async def ClearContextCache(
        self, request: pb.ClearContextCacheRequest, principal: Principal
    ) -> pb.ClearContextCacheResponse:
        if request.issue_id:
            project: str | None = project_of(principal, request.project_id, self._project)
            own_issue(principal, request.issue_id)
        elif not principal.operator:
            raise permission_denied("only the operator clears the whole cache; name an issue")
        else:
            project = request.project_id or None
        gone = self._service.clear(project, request.issue_id, request.agent_type)
        if request.issue_id and not gone:
            raise not_found("CTX_002", f"nothing is cached for issue '{request.issue_id}'")
        return pb.ClearContextCacheResponse(
            cleared=True,
            entries_removed=len(gone),
            bytes_freed=sum(size for _, size in gone),
            timestamp=self._clock.timestamp(),
        )

    async def _answer(self, request: pb.GetContextRequest | pb.StreamContextRequest, principal: Principal) -> Answer:
        project = project_of(principal, request.project_id, self._project)
        own_issue(principal, request.issue_id)
        own_type(principal, request.agent_type)
        worktree = self._worktree_of(principal.subject)
        return await self._service.get(project, request.issue_id, request.agent_type, request.task, worktree=worktree)


def own_type(principal: Principal, agent_type: str) -> None:
    """Raises SidecarError (AUTH_003) when an agent asks for another type's context."""
    if principal.operator or principal.architect or agent_type == principal.agent_type:
        return
    raise permission_denied(
        f"this agent is a '{principal.agent_type}' and reads that type's context, not '{agent_type}'",
        agent_type=principal.agent_type,
    )
