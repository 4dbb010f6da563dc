"""AgentService: unpack, call, pack."""

from __future__ import annotations

from cco_sidecar.auth.tokens import TTL_SECONDS, Tokens
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.clock import Clock, timestamp
from cco_sidecar.core.principal import Principal
from orchestra.v1 import agent_service_pb2 as pb


class AgentServicer:
    def __init__(self, tokens: Tokens, types: AgentTypes, clock: Clock, default_project: str) -> None:
        self._tokens = tokens
        self._types = types
        self._clock = clock
        self._project = default_project

    async def CreateToken(self, request: pb.CreateTokenRequest, principal: Principal) -> pb.CreateTokenResponse:
        agent = self._types.known(request.agent_type)
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
            await self._tokens.revoke_agent(request.agent_id)
        count = bool(request.jti) + bool(request.agent_id)
        return pb.RevokeTokenResponse(revoked=count, timestamp=self._clock.timestamp())

    async def ListAgentTypes(
        self, request: pb.ListAgentTypesRequest, principal: Principal
    ) -> pb.ListAgentTypesResponse:
        chosen = [agent for agent in self._types.values() if request.group in ("", agent.group)]
        return pb.ListAgentTypesResponse(agent_types=map(_message, chosen))


def _message(agent: AgentType) -> pb.AgentType:
    return pb.AgentType(**{field.name: getattr(agent, field.name) for field in pb.AgentType.DESCRIPTOR.fields})
