"""The caller of an RPC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

READ_CONTEXT = "read_context"
WRITE_RESULTS = "write_results"
PUBLISH_EVENTS = "publish_events"
SPAWN_AGENTS = "spawn_agents"
# Of runners only: no agent type has it.
RUN_AGENTS = "run_agents"

OPERATOR = "operator"
HANDOVER = "handover"
SIDECAR = "orchestration-sidecar"
RUNNER = "runner"
# Privileged names that no agent may use.
RESERVED_SUBJECTS = frozenset({OPERATOR, HANDOVER, SIDECAR})


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified claims of a token.

    ``since``, ``expires_at`` and ``signed_in_at`` are in Unix seconds. ``since`` (claim ``orig_iat``, or ``iat``) says
    when the token was issued, or the first of those that it renews: renewing undoes no revocation. ``session`` (claim
    ``sid``) is the agent run or the browser session the token was issued for, or empty. ``signed_in_at`` (claim
    ``auth_time``) is 0 except in a browser session.
    """

    subject: str
    agent_type: str = ""
    group: str = ""
    project_id: str = ""
    issue_id: str = ""
    permissions: frozenset[str] = field(default_factory=frozenset)
    jti: str = ""
    session: str = ""
    since: float = 0.0
    expires_at: float = 0.0
    operator: bool = False
    signed_in_at: float = 0.0
    # Tags that a runner may have; None for any.
    tags: Sequence[str] | None = None

    @property
    def is_browser(self) -> bool:
        """Reports whether the caller is a browser session of the operator, which may do less than its token's owner."""
        return self.signed_in_at > 0

    @property
    def is_runner(self) -> bool:
        """Reports whether the caller is a runner, which may do nothing but run agents."""
        return RUN_AGENTS in self.permissions

    @property
    def architect(self) -> bool:
        """Reports whether the caller may see every agent type and issue of its project."""
        return SPAWN_AGENTS in self.permissions


ANONYMOUS = Principal(subject="")
