"""AgentService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cco_sidecar.auth.identity_key import IdentityKey
from cco_sidecar.auth.logins import Logins
from cco_sidecar.auth.policy import policies
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.bus.base import EventBus
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.clock import Clock, timestamp
from cco_sidecar.core.errors import SidecarError, not_found, permission_denied
from cco_sidecar.core.principal import Principal
from cco_sidecar.core.services import services
from cco_sidecar.core.settings import Settings
from cco_sidecar.core.suggestions import nearest
from cco_sidecar.services.agents import acts, logs, spawn, tokens
from cco_sidecar.services.agents.access import check_access, principal_of
from cco_sidecar.services.agents.diff import Diffs
from cco_sidecar.services.agents.read import AgentReader
from cco_sidecar.storage.base import AgentStore
from cco_sidecar.supervision.supervision import Supervision
from orchestra.v1 import agent_service_pb2 as pb


class AgentServicer:
    """Implements orchestra.v1.AgentService. Errors are raised as SidecarError."""

    def __init__(
        self,
        supervision: Supervision,
        store: AgentStore,
        bus: EventBus,
        token_issuer: Tokens,
        types: AgentTypes,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._reader = AgentReader(store, supervision.supervisor)
        self._spawner = supervision.spawner
        self._supervisor = supervision.supervisor
        self._launcher = supervision.launcher
        self._leases = supervision.leases
        self._store = store
        self._bus = bus
        self._tokens = token_issuer
        self._types = types
        self._policies = policies(services())
        self._clock = clock
        self._logins = Logins(clock)
        self._identity_key = IdentityKey.of(settings.storage)
        self._diffs = Diffs(self._reader, supervision.launcher.worktrees)
        self._dashboard_url = settings.dashboard_url

    async def SpawnAgent(self, request: pb.SpawnAgentRequest, principal: Principal) -> pb.SpawnAgentResponse:
        active = await spawn.spawn_agent(self._spawner, self._supervisor, request, principal)
        agent, token = active.record, active.lease.token
        return pb.SpawnAgentResponse(
            agent_id=agent.agent_id,
            spawned=token is not None,
            process_id=agent.process_id if agent.HasField("process_id") else None,
            context_injected=token is not None,
            # Only the operator gets the token: an agent could act as the one it spawned (contract, section 8, decision
            # 3).
            jwt_token=(token.token if principal.operator else "") if token is not None else None,
            webhook_url=f"/api/agents/{agent.agent_id}/status",
            timestamp=self._clock.timestamp(),
            status=agent.status,
            queue_position=self._supervisor.position(agent.agent_id),
        )

    async def GetAgent(self, request: pb.GetAgentRequest, principal: Principal) -> pb.GetAgentResponse:
        return pb.GetAgentResponse(agent=(await self._reader.get(request.agent_id, principal)).agent)

    async def ListAgents(self, request: pb.ListAgentsRequest, principal: Principal) -> pb.ListAgentsResponse:
        project = None if request.all_projects else request.project_id
        page = await self._reader.page(request, project, principal)
        return pb.ListAgentsResponse(
            agents=[stored.agent for stored in page.items],
            next_cursor=page.next_cursor,
            running=self._supervisor.running,
            queued=self._supervisor.queued,
            max_concurrent=self._supervisor.placement.max_concurrent,
        )

    async def StopAgent(self, request: pb.StopAgentRequest, principal: Principal) -> pb.StopAgentResponse:
        stopped = await acts.stop_agent(self._reader, self._supervisor, request, principal)
        agent = (await self._reader.get(request.agent_id, principal)).agent
        return pb.StopAgentResponse(
            agent_id=agent.agent_id,
            stopped=stopped,
            status=agent.status,
            reason=agent.reason,
            timestamp=self._clock.timestamp(),
        )

    async def ResumeAgent(self, request: pb.ResumeAgentRequest, principal: Principal) -> pb.ResumeAgentResponse:
        active = await spawn.resume_agent(self._reader, self._spawner, self._supervisor, request, principal)
        return pb.ResumeAgentResponse(agent=active.record)

    async def StreamAgentLogs(
        self, request: pb.StreamAgentLogsRequest, principal: Principal
    ) -> AsyncIterator[pb.StreamAgentLogsResponse]:
        batches = logs.stream_logs(self._reader, self._supervisor, self._launcher, self._bus, request, principal)
        async for lines in batches:
            yield pb.StreamAgentLogsResponse(lines=lines)

    async def SendHeartbeat(self, request: pb.SendHeartbeatRequest, principal: Principal) -> pb.SendHeartbeatResponse:
        agent = await acts.send_heartbeat(self._reader, self._supervisor, request, principal)
        return pb.SendHeartbeatResponse(status=agent.status, timestamp=self._clock.timestamp())

    async def DiscardWorktree(
        self, request: pb.DiscardWorktreeRequest, principal: Principal
    ) -> pb.DiscardWorktreeResponse:
        agent = await acts.discard_worktree(
            self._reader, self._supervisor, self._launcher.worktrees, self._store, request.agent_id, principal
        )
        return pb.DiscardWorktreeResponse(discarded=True, branch=agent.branch)

    async def GetAgentDiff(self, request: pb.GetAgentDiffRequest, principal: Principal) -> pb.GetAgentDiffResponse:
        return await self._diffs.of(request.agent_id, principal)

    async def CheckAccess(self, request: pb.CheckAccessRequest, principal: Principal) -> pb.CheckAccessResponse:
        if request.agent in self._types:
            known = self._types[request.agent]
            own = principal_of(known, known.type, "", "")
        else:
            agent = await self._agent(request.agent, principal)
            known = self._types.require(agent.agent_type)
            own = principal_of(known, agent.agent_id, agent.issue_id, agent.project_id)
        return check_access(self._policies, known, own, request.rpc, request.issue_id, request.project_id)

    async def _agent(self, agent_id: str, principal: Principal) -> pb.Agent:
        """Returns an agent. Raises SidecarError (AGT_004) whose message also suggests agent types."""
        try:
            return (await self._reader.get(agent_id, principal)).agent
        except SidecarError as problem:
            if problem.code != "AGT_004":
                raise
            near = nearest(agent_id, self._types)
            hint = f"did you mean '{near}'?" if near else "list them with 'cco agent list' and 'cco agent types'"
            message = f"no agent and no agent type '{agent_id}' found; {hint}"
            raise not_found("AGT_004", message, agent_id=agent_id) from problem

    async def CreateToken(self, request: pb.CreateTokenRequest, principal: Principal) -> pb.CreateTokenResponse:
        minted = tokens.create_token(self._tokens, self._types, request)
        own = minted.principal
        return pb.CreateTokenResponse(
            jwt_token=minted.token, agent_id=own.subject, expires_at=timestamp(int(own.expires_at * 1e6))
        )

    async def CreateLoginCode(
        self, request: pb.CreateLoginCodeRequest, principal: Principal
    ) -> pb.CreateLoginCodeResponse:
        made = self._logins.create(principal)
        expires = timestamp(int(made.expires_at * 1e6))
        return pb.CreateLoginCodeResponse(code=made.code, expires_at=expires, url=self._dashboard_url)

    async def ExchangeLoginCode(
        self, request: pb.ExchangeLoginCodeRequest, principal: Principal
    ) -> pb.ExchangeLoginCodeResponse:
        minted = self._tokens.mint_browser(self._logins.redeem(request.code).signed_in_at)
        expires = timestamp(int(minted.principal.expires_at * 1e6))
        key = self._identity_key.of_session(minted.principal.session).hex()
        return pb.ExchangeLoginCodeResponse(jwt_token=minted.token, expires_at=expires, identity_key=key)

    async def RefreshToken(self, request: pb.RefreshTokenRequest, principal: Principal) -> pb.RefreshTokenResponse:
        minted = await self._tokens.refresh(principal)
        expires = timestamp(int(minted.principal.expires_at * 1e6))
        return pb.RefreshTokenResponse(jwt_token=minted.token, expires_at=expires)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, principal: Principal) -> pb.RevokeTokenResponse:
        if principal.is_browser and (request.agent_id or request.jti != principal.jti):
            raise permission_denied("the dashboard's token can revoke only itself; use the cco command")
        count = await tokens.revoke_token(self._tokens, self._leases, self._supervisor, request)
        return pb.RevokeTokenResponse(revoked=count, timestamp=self._clock.timestamp())

    async def ListAgentTypes(
        self, request: pb.ListAgentTypesRequest, principal: Principal
    ) -> pb.ListAgentTypesResponse:
        chosen = [agent for agent in self._types.values() if request.group in ("", agent.group)]
        return pb.ListAgentTypesResponse(agent_types=map(_message, chosen))


def _message(agent: AgentType) -> pb.AgentType:
    return pb.AgentType(**{field.name: getattr(agent, field.name) for field in pb.AgentType.DESCRIPTOR.fields})
