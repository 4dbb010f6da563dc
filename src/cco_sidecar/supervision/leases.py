"""The identity of a run: its tokens are valid as long as its process lives, and revoked when it ends (ADR 0011)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cco_sidecar.auth.tokens import REFRESH_WINDOW_SECONDS, SKEW_SECONDS, TTL_SECONDS, Minted, Tokens
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners.run import Run
from orchestra.v1.agent_service_pb2 import Agent

log = logging.getLogger(__name__)


@dataclass
class Lease:
    """``session``: claim ``sid`` of the run's tokens; ``made_at``: when the token in its file was made, by the clock,
    None for an agent of an earlier sidecar; ``revoked``: on disk."""

    session: str = ""
    token: Minted | None = None
    made_at: float | None = None
    revoked: bool = False


class Leases:
    def __init__(self, tokens: Tokens, types: AgentTypes, clock: Clock) -> None:
        self._tokens = tokens
        self._types = types
        self._clock = clock

    def begin(self, lease: Lease, agent: Agent) -> Minted:
        """The first token of a run. Raises SidecarError for a type that is not configured."""
        self._tokens.minted += agent.attempt == 1
        lease.session = ids.sortable("run")
        lease.made_at = self._clock.seconds()
        lease.token = self._mint(lease, agent)
        lease.revoked = False
        self._tokens.lease(agent.agent_id)
        return lease.token

    def recover(self, lease: Lease, agent: Agent, run: Run, *, runs: bool) -> None:
        """That of a run which an earlier sidecar began: the tokens that it uses stay valid while it runs."""
        found = self._tokens.read(run.token())
        lease.session = ids.sortable("run")
        # An agent may have put anything there; what it is given next ends with the run all the same.
        if found is not None and found.subject == agent.agent_id:
            lease.session = found.session
        if runs:
            self._tokens.lease(agent.agent_id)

    def needs_renewal(self, lease: Lease, agent: Agent) -> bool:
        if agent.agent_type not in self._types:
            # No longer configured: it keeps the token that it has.
            return False
        if lease.made_at is None:
            return True
        # A clock that was set back leaves a token from the future.
        return not -SKEW_SECONDS <= self._clock.seconds() - lease.made_at < TTL_SECONDS - REFRESH_WINDOW_SECONDS

    def renew(self, lease: Lease, agent: Agent, run: Run) -> None:
        """Writes a fresh token to the run's file; older ones stay valid as long as it lives. Raises OSError."""
        made = self._clock.seconds()
        token = self._mint(lease, agent)
        run.write_token(token.token)
        lease.token, lease.made_at = token, made

    async def revoke(self, agent_id: str, lease: Lease | None) -> None:
        """For the operator: one that runs on is given no tokens but those of the same revoked session. Raises
        SidecarError (STR_001)."""
        await self._tokens.revoke_agent(agent_id, lease.session if lease else "")

    async def end(self, lease: Lease, agent_id: str) -> None:
        """In force at once, also when the disk is full: ``save_end`` tries again."""
        self._tokens.release(agent_id)
        try:
            await self._revoke(lease, agent_id)
        except SidecarError as problem:
            log.warning("the revocation of %s is not on disk yet: %s", agent_id, problem)

    async def save_end(self, lease: Lease, agent_id: str) -> None:
        """Puts the revocation on disk if it is not. Raises SidecarError (STR_001)."""
        if not lease.revoked:
            await self._revoke(lease, agent_id)

    async def _revoke(self, lease: Lease, agent_id: str) -> None:
        await self._tokens.revoke_agent(agent_id, lease.session)
        lease.revoked = True

    def _mint(self, lease: Lease, agent: Agent) -> Minted:
        return self._tokens.mint_agent(
            self._types.known(agent.agent_type),
            agent_id=agent.agent_id,
            project=agent.project_id,
            issue=agent.issue_id,
            session=lease.session,
        )
