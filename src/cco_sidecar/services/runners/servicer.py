"""RunnerService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from cco_sidecar.auth.tokens import RUNNER_TTL_SECONDS, Tokens
from cco_sidecar.core.clock import timestamp
from cco_sidecar.core.errors import invalid_request, not_found, permission_denied
from cco_sidecar.core.principal import RESERVED_SUBJECTS, Principal
from cco_sidecar.supervision.supervision import Supervision
from orchestra.v1 import runner_service_pb2 as pb

_PART_BYTES = 2**20


class RunnerServicer:
    """Implements orchestra.v1.RunnerService. Errors are raised as SidecarError."""

    def __init__(self, supervision: Supervision, tokens: Tokens) -> None:
        self._hub, self._types, self._projects = supervision.hub, supervision.types, supervision.projects
        self._worktrees = supervision.launcher.worktrees
        self._cluster = supervision.cluster
        self._tokens = tokens
        self._packing = asyncio.Semaphore(2)

    async def CreateRunnerToken(
        self, request: pb.CreateRunnerTokenRequest, principal: Principal
    ) -> pb.CreateRunnerTokenResponse:
        if request.runner_id in RESERVED_SUBJECTS:
            raise invalid_request(f"runner_id: '{request.runner_id}' is reserved for the sidecar", field="runner_id")
        ttl = request.ttl_seconds if request.HasField("ttl_seconds") else RUNNER_TTL_SECONDS
        minted = self._tokens.mint_runner(request.runner_id, tuple(request.tags) or None, ttl=ttl)
        expires = timestamp(int(minted.principal.expires_at * 1e6))
        return pb.CreateRunnerTokenResponse(runner_id=request.runner_id, jwt_token=minted.token, expires_at=expires)

    async def ListRunners(self, request: pb.ListRunnersRequest, principal: Principal) -> pb.ListRunnersResponse:
        return pb.ListRunnersResponse(runners=self._hub.listed())

    async def AttendRunner(
        self, request: pb.AttendRunnerRequest, principal: Principal
    ) -> AsyncIterator[pb.AttendRunnerResponse]:
        _require_own(request.runner_id, principal)
        if principal.tags is not None and (more := set(request.runner.tags) - set(principal.tags)):
            raise permission_denied(f"the token does not allow the tag '{min(more)}'; it was created with --tag")
        welcome = pb.RunnerWelcome(
            sidecar_id=self._cluster.sidecar_id,
            sidecar_ids=self._sidecars(),
            jwt_token=self._tokens.mint_runner(request.runner_id, principal.tags, since=principal.since).token,
            lost_after_seconds=int(self._hub.lost_after),
            warnings=self._unknown(request.runner),
        )
        if not request.sidecar_id:
            # It only asks who is there.
            yield pb.AttendRunnerResponse(welcome=welcome)
            return
        async for order in self._hub.attend(request).orders(pb.AttendRunnerResponse(welcome=welcome)):
            yield order

    def _unknown(self, offer: pb.Runner) -> list[str]:
        """Says what of an offer no agent can have."""
        types = [each for each in offer.agent_types if each not in self._types]
        projects = [each for each in offer.project_ids if not self._projects.knows(each)]
        return [f"the sidecar has no agent type '{each}'" for each in types] + [
            f"the sidecar has no project '{each}'" for each in projects
        ]

    async def ReportRunner(self, request: pb.ReportRunnerRequest, principal: Principal) -> pb.ReportRunnerResponse:
        _require_own(request.runner_id, principal)
        response = await self._hub.report(request)
        response.sidecar_ids.extend(self._sidecars())
        return response

    async def ReadCommits(
        self, request: pb.ReadCommitsRequest, principal: Principal
    ) -> AsyncIterator[pb.ReadCommitsResponse]:
        _require_own(request.runner_id, principal)
        run = self._hub.runner(request.runner_id).runs.get((request.agent_id, request.attempt))
        if run is None or not run.base[1]:
            raise not_found("AGT_004", f"runner '{request.runner_id}' was not told to start {request.agent_id}")
        async with self._packing:
            # A few at a time: they are large.
            pack = await asyncio.to_thread(self._worktrees.pack, *run.base, request.have_commits)
        for start in range(0, len(pack), _PART_BYTES):
            yield pb.ReadCommitsResponse(pack=pack[start : start + _PART_BYTES])

    def _sidecars(self) -> list[str]:
        status = self._cluster.status()
        if status is None:
            return [self._cluster.sidecar_id]
        return [each.sidecar_id for each in status.members if each.alive]


def _require_own(runner_id: str, principal: Principal) -> None:
    """Raises SidecarError (AUTH_003)."""
    if runner_id != principal.subject:
        raise permission_denied(f"the token is not that of runner '{runner_id}'; create one with 'cco runner token'")
