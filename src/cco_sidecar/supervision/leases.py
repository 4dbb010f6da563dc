"""Leases: the tokens of a run are valid while its process runs, and are revoked when it ends (ADR 0011)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from cco_sidecar.auth.tokens import REFRESH_WINDOW_SECONDS, SKEW_SECONDS, TTL_SECONDS, Minted, Tokens
from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners.run import Run
from cco_sidecar.storage.cluster import LEASE_SECONDS
from orchestra.v1.agent_service_pb2 import Agent

log = logging.getLogger(__name__)


@dataclass
class Lease:
    """The identity of a run.

    ``session``: the ``sid`` claim of its tokens; ``made_at``: when the token in its file was created, in seconds by the
    clock, None for an agent of an earlier sidecar; ``revoked``: the revocation is on disk.
    """

    session: str = ""
    token: Minted | None = None
    made_at: float | None = None
    revoked: bool = False
    # Another sidecar may have the agent, whose tokens are valid there; and until when none had.
    lost: bool = False
    alone_until: float | None = None


class Leases:
    """Creates, renews and revokes the tokens of runs."""

    def __init__(self, tokens: Tokens, types: AgentTypes, clock: Clock, cluster: Cluster) -> None:
        self._tokens = tokens
        self._types = types
        self._clock = clock
        self._cluster = cluster
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, listener: Callable[[str], None]) -> None:
        """Calls ``listener(agent_id)`` whenever a run has ended. It must not block or raise."""
        self._listeners.append(listener)

    @property
    def in_doubt(self) -> bool:
        """Whether other sidecars may take over what is started here now: it would be ended at once."""
        return self._cluster.shared and self._cluster.silent_seconds > LEASE_SECONDS

    def begin(self, lease: Lease, agent: Agent) -> Minted:
        """Begins a run's lease and returns its first token. Raises SidecarError for a type that is not configured."""
        self._tokens.minted += agent.attempt == 1
        lease.session = ids.sortable("run")
        lease.made_at = self._clock.seconds()
        lease.token = self._mint(lease, agent)
        lease.revoked, lease.alone_until = False, None
        self._tokens.lease(agent.agent_id)
        return lease.token

    def recover(self, lease: Lease, agent: Agent, run: Run, *, runs: bool) -> None:
        """Restores the lease of a run that an earlier sidecar started: its tokens stay valid while it runs."""
        found = self._tokens.read(run.token())
        lease.session = ids.sortable("run")
        # The agent may have written anything to the file. Tokens that it gets from now on are revoked with this run all
        # the same.
        if found is not None and found.subject == agent.agent_id:
            lease.session = found.session
        if runs:
            self._tokens.lease(agent.agent_id)

    def needs_renewal(self, lease: Lease, agent: Agent) -> bool:
        """Whether the token in the run's file should be renewed."""
        if agent.agent_type not in self._types:
            # The type is no longer configured: the agent keeps the token that it has.
            return False
        if lease.made_at is None:
            return True
        # If the clock was set back, the token is from the future.
        return not -SKEW_SECONDS <= self._clock.seconds() - lease.made_at < TTL_SECONDS - REFRESH_WINDOW_SECONDS

    def renew(self, lease: Lease, agent: Agent, run: Run) -> None:
        """Writes a new token to the run's file. Earlier tokens stay valid while the run lasts. Raises OSError,
        SidecarError."""
        made = self._clock.seconds()
        token = self._mint(lease, agent)
        run.write_token(token.token)
        lease.token, lease.made_at = token, made

    async def revoke(self, agent_id: str, lease: Lease | None) -> None:
        """Revokes the agent's tokens for the operator. An agent that continues to run gets only tokens of the revoked
        session. Raises SidecarError (STR_001)."""
        await self._tokens.revoke_agent(agent_id, lease.session if lease else "")

    async def end(self, lease: Lease, agent_id: str) -> None:
        """Revokes the run's tokens. Takes effect at once, even if the disk is full; ``save_end`` writes it later."""
        self._tokens.release(agent_id)
        for listen in self._listeners:
            listen(agent_id)
        try:
            await self._revoke(lease, agent_id)
        except SidecarError as problem:
            log.warning("could not save the revocation of %s yet: %s", agent_id, problem)

    async def save_end(self, lease: Lease, agent_id: str) -> None:
        """Saves the revocation unless it is on disk. Raises SidecarError (STR_001)."""
        if not lease.revoked:
            await self._revoke(lease, agent_id)

    async def _revoke(self, lease: Lease, agent_id: str) -> None:
        if lease.lost:
            # One that has not begun here has no session.
            if lease.session:
                await self._tokens.revoke_session(lease.session)
        else:
            # Not the tokens of a later run, at a sidecar that has taken the agent over.
            if self._cluster.shared and lease.alone_until is None:
                lease.alone_until = self._clock.seconds() - self._cluster.silent_seconds
            await self._tokens.revoke_agent(agent_id, lease.session, until=lease.alone_until)
        lease.revoked = True

    def _mint(self, lease: Lease, agent: Agent) -> Minted:
        return self._tokens.mint_agent(
            self._types.require(agent.agent_type),
            agent_id=agent.agent_id,
            project=agent.project_id,
            issue=agent.issue_id,
            session=lease.session,
        )
