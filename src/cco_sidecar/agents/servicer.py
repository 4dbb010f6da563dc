"""AgentService: unpack, call, pack."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Mapping

from cco_sidecar.agents.access import check_access, principal_of
from cco_sidecar.agents.service import AgentsService
from cco_sidecar.auth.policy import MethodPolicy, project_of
from cco_sidecar.auth.tokens import TTL_SECONDS, Tokens
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.clock import Clock, timestamp
from cco_sidecar.core.errors import SidecarError, invalid_request, not_found, permission_denied
from cco_sidecar.core.principal import RESERVED_SUBJECTS, Principal
from orchestra.v1 import agent_service_pb2 as pb


class AgentServicer:
    def __init__(
        self,
        service: AgentsService,
        tokens: Tokens,
        types: AgentTypes,
        policies: Mapping[str, MethodPolicy],
        clock: Clock,
        default_project: str,
    ) -> None:
        self._service = service
        self._tokens = tokens
        self._types = types
        self._policies = policies
        self._clock = clock
        self._project = default_project

    async def SpawnAgent(self, request: pb.SpawnAgentRequest, principal: Principal) -> pb.SpawnAgentResponse:
        live = await self._service.spawn(request, principal)
        agent = live.agent
        return pb.SpawnAgentResponse(
            agent_id=agent.agent_id,
            spawned=live.token is not None,
            process_id=agent.process_id if agent.HasField("process_id") else None,
            context_injected=live.token is not None,
            # With it an agent could act as the one it spawned (contract, section 8, decision 3).
            jwt_token=(live.token.token if principal.operator else "") if live.token is not None else None,
            webhook_url=f"/api/agents/{agent.agent_id}/status",
            timestamp=self._clock.timestamp(),
            status=agent.status,
            queue_position=self._service.queue_position(agent),
        )

    async def GetAgent(self, request: pb.GetAgentRequest, principal: Principal) -> pb.GetAgentResponse:
        return pb.GetAgentResponse(agent=(await self._service.get(request.agent_id, principal)).agent)

    async def ListAgents(self, request: pb.ListAgentsRequest, principal: Principal) -> pb.ListAgentsResponse:
        if request.all_projects and not principal.operator:
            raise permission_denied("all_projects: only the operator sees other projects", field="all_projects")
        project = None if request.all_projects else project_of(principal, request.project_id, self._project)
        page = await self._service.page(request, project, principal)
        supervisor = self._service.supervisor
        return pb.ListAgentsResponse(
            agents=[stored.agent for stored in page.items],
            next_cursor=page.next_cursor,
            running=supervisor.running,
            queued=supervisor.queued,
            max_concurrent=supervisor.max_concurrent,
        )

    async def StopAgent(self, request: pb.StopAgentRequest, principal: Principal) -> pb.StopAgentResponse:
        timeout = request.timeout if request.HasField("timeout") else None
        stopped = await self._service.stop(request.agent_id, principal, force=request.force, timeout=timeout)
        agent = (await self._service.get(request.agent_id, principal)).agent
        return pb.StopAgentResponse(
            agent_id=agent.agent_id,
            stopped=stopped,
            status=agent.status,
            reason=agent.reason,
            timestamp=self._clock.timestamp(),
        )

    async def ResumeAgent(self, request: pb.ResumeAgentRequest, principal: Principal) -> pb.ResumeAgentResponse:
        return pb.ResumeAgentResponse(agent=await self._service.resume(request.agent_id, request.message, principal))

    async def StreamAgentLogs(
        self, request: pb.StreamAgentLogsRequest, principal: Principal
    ) -> AsyncIterator[pb.StreamAgentLogsResponse]:
        async for lines in self._service.stream_logs(request, principal):
            yield pb.StreamAgentLogsResponse(lines=lines)

    async def SendHeartbeat(self, request: pb.SendHeartbeatRequest, principal: Principal) -> pb.SendHeartbeatResponse:
        agent = await self._service.heartbeat(request, principal, self._clock)
        return pb.SendHeartbeatResponse(status=agent.status, timestamp=self._clock.timestamp())

    async def DiscardWorktree(
        self, request: pb.DiscardWorktreeRequest, principal: Principal
    ) -> pb.DiscardWorktreeResponse:
        agent = await self._service.discard_worktree(request.agent_id, principal)
        return pb.DiscardWorktreeResponse(discarded=True, branch=agent.branch)

    async def CheckAccess(self, request: pb.CheckAccessRequest, principal: Principal) -> pb.CheckAccessResponse:
        if request.agent in self._types:
            known = self._types[request.agent]
            own = principal_of(known, known.type, "", "")
        else:
            agent = await self._agent(request.agent, principal)
            known = self._types.known(agent.agent_type)
            own = principal_of(known, agent.agent_id, agent.issue_id, agent.project_id)
        return check_access(self._policies, known, own, request.rpc, request.issue_id, request.project_id)

    async def _agent(self, agent_id: str, principal: Principal) -> pb.Agent:
        """Raises SidecarError (AGT_004) that knows the agent types too."""
        try:
            return (await self._service.get(agent_id, principal)).agent
        except SidecarError as problem:
            if problem.code != "AGT_004":
                raise
            near = difflib.get_close_matches(agent_id, self._types, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "'cco agent list' and 'cco agent types' name them"
            message = f"there is no agent '{agent_id}' and no such agent type; {hint}"
            raise not_found("AGT_004", message, agent_id=agent_id) from problem

    async def CreateToken(self, request: pb.CreateTokenRequest, principal: Principal) -> pb.CreateTokenResponse:
        agent = self._types.known(request.agent_type)
        if request.agent_id in RESERVED_SUBJECTS:
            raise invalid_request(f"agent_id: '{request.agent_id}' is the sidecar's own name", field="agent_id")
        self._tokens.minted += 1
        minted = self._tokens.mint_agent(
            agent,
            agent_id=request.agent_id or ids.agent_id(agent.type),
            project=request.project_id or self._project,
            issue=request.issue_id,
            ttl=request.ttl_seconds if request.HasField("ttl_seconds") else TTL_SECONDS,
        )
        return pb.CreateTokenResponse(
            jwt_token=minted.token,
            agent_id=minted.principal.subject,
            expires_at=timestamp(int(minted.principal.expires_at * 1e6)),
        )

    async def RefreshToken(self, request: pb.RefreshTokenRequest, principal: Principal) -> pb.RefreshTokenResponse:
        minted = await self._tokens.refresh(principal)
        return pb.RefreshTokenResponse(
            jwt_token=minted.token, expires_at=timestamp(int(minted.principal.expires_at * 1e6))
        )

    async def RevokeToken(self, request: pb.RevokeTokenRequest, principal: Principal) -> pb.RevokeTokenResponse:
        if request.jti:
            await self._tokens.revoke_token(request.jti)
        if request.agent_id:
            await self._service.revoke_tokens(request.agent_id)
        count = bool(request.jti) + bool(request.agent_id)
        return pb.RevokeTokenResponse(revoked=count, timestamp=self._clock.timestamp())

    async def ListAgentTypes(
        self, request: pb.ListAgentTypesRequest, principal: Principal
    ) -> pb.ListAgentTypesResponse:
        chosen = [agent for agent in self._types.values() if request.group in ("", agent.group)]
        return pb.ListAgentTypesResponse(agent_types=map(_message, chosen))


def _message(agent: AgentType) -> pb.AgentType:
    return pb.AgentType(**{field.name: getattr(agent, field.name) for field in pb.AgentType.DESCRIPTOR.fields})
