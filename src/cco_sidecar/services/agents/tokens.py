"""Tokens of agents: created and revoked by the operator."""

from __future__ import annotations

from cco_sidecar.auth.tokens import TTL_SECONDS, Minted, Tokens
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.errors import invalid_request
from cco_sidecar.core.principal import RESERVED_SUBJECTS
from cco_sidecar.supervision.leases import Leases
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.agent_service_pb2 import CreateTokenRequest, RevokeTokenRequest


def create_token(tokens: Tokens, types: AgentTypes, request: CreateTokenRequest) -> Minted:
    """Creates a token for an agent. Raises SidecarError: AGT_002 for an unknown type, REQ_001 for a reserved agent
    id."""
    agent = types.require(request.agent_type)
    if request.agent_id in RESERVED_SUBJECTS:
        raise invalid_request(f"agent_id: '{request.agent_id}' is reserved for the sidecar", field="agent_id")
    tokens.minted += 1
    return tokens.mint_agent(
        agent,
        agent_id=request.agent_id or ids.agent_id(agent.type),
        project=request.project_id,
        issue=request.issue_id,
        ttl=request.ttl_seconds if request.HasField("ttl_seconds") else TTL_SECONDS,
    )


async def revoke_token(tokens: Tokens, leases: Leases, supervisor: Supervisor, request: RevokeTokenRequest) -> int:
    """Revokes one token, or all tokens of an agent, spawned here or not. Returns the number of revocations made. Raises
    SidecarError (STR_001)."""
    if request.jti:
        await tokens.revoke_token(request.jti)
    if request.agent_id:
        active = supervisor.find(request.agent_id)
        await leases.revoke(request.agent_id, active.lease if active else None)
    return bool(request.jti) + bool(request.agent_id)
