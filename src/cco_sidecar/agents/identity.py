"""The identity of a run: its tokens are good as long as its process lives, and dead when it ends."""

from __future__ import annotations

import logging

from cco_sidecar.agents.live import Live
from cco_sidecar.auth.tokens import REFRESH_WINDOW_SECONDS, SKEW_SECONDS, TTL_SECONDS, Minted, Tokens
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError

log = logging.getLogger(__name__)


class Identities:
    def __init__(self, tokens: Tokens, types: AgentTypes, clock: Clock) -> None:
        self._tokens = tokens
        self._types = types
        self._clock = clock

    def begin(self, live: Live) -> Minted:
        """The first token of a run. Raises SidecarError for a type that is not configured."""
        self._tokens.minted += live.agent.attempt == 1
        live.session = ids.sortable("run")
        live.token_made = self._clock.seconds()
        token = self._mint(live)
        live.revoked = False
        self._tokens.lease(live.agent.agent_id)
        return token

    def find(self, live: Live, *, runs: bool) -> None:
        """That of a run which an earlier sidecar began: what it calls with is good."""
        assert live.run is not None
        found = self._tokens.read(live.run.token())
        live.session = ids.sortable("run")
        # An agent may have put anything there; what it is given next ends with the run all the same.
        if found is not None and found.subject == live.agent.agent_id:
            live.session = found.session
        if runs:
            self._tokens.lease(live.agent.agent_id)

    def needs_renewal(self, live: Live) -> bool:
        if live.agent.agent_type not in self._types:
            # No longer configured: it keeps the token that it has.
            return False
        if live.token_made is None:
            return True
        # A clock that was set back leaves a token from the future.
        return not -SKEW_SECONDS <= self._clock.seconds() - live.token_made < TTL_SECONDS - REFRESH_WINDOW_SECONDS

    def renew(self, live: Live) -> None:
        """A fresh token in the run's file; the older ones stay good as long as it lives. Raises OSError."""
        assert live.run is not None
        made = self._clock.seconds()
        token = self._mint(live)
        live.run.write_token(token.token)
        live.token, live.token_made = token, made

    async def cut_off(self, agent_id: str, live: Live | None) -> None:
        """The operator ends an agent's tokens; one that runs on is given no other than of the same dead session.
        Raises SidecarError (STR_001)."""
        await self._tokens.revoke_agent(agent_id, live.session if live else "")

    async def end(self, live: Live) -> None:
        """In force at once, also when the disk is full: ``write_end`` tries again."""
        self._tokens.release(live.agent.agent_id)
        try:
            await self._revoke(live)
        except SidecarError as problem:
            log.warning("the revocation of %s is not on disk yet: %s", live.agent.agent_id, problem)

    async def write_end(self, live: Live) -> None:
        """That its tokens are dead is on disk. Raises SidecarError (STR_001)."""
        if not live.revoked:
            await self._revoke(live)

    async def _revoke(self, live: Live) -> None:
        await self._tokens.revoke_agent(live.agent.agent_id, live.session)
        live.revoked = True

    def _mint(self, live: Live) -> Minted:
        agent = live.agent
        return self._tokens.mint_agent(
            self._types.known(agent.agent_type),
            agent_id=agent.agent_id,
            project=agent.project_id,
            issue=agent.issue_id,
            session=live.session,
        )
