"""Who is calling."""

from __future__ import annotations

from dataclasses import dataclass, field

READ_CONTEXT = "read_context"
WRITE_RESULTS = "write_results"
PUBLISH_EVENTS = "publish_events"
SPAWN_AGENTS = "spawn_agents"

OPERATOR = "operator"
HANDOVER = "handover"
SIDECAR = "orchestration-sidecar"
# Names that are believed more than an agent's: none may have them.
RESERVED_SUBJECTS = frozenset({OPERATOR, HANDOVER, SIDECAR})


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified claims of a token. ``expires_at``: seconds since 1970 UTC; ``session`` (claim ``sid``): the run
    of an agent that it was made for, empty for none."""

    subject: str
    agent_type: str = ""
    group: str = ""
    project_id: str = ""
    issue_id: str = ""
    permissions: frozenset[str] = field(default_factory=frozenset)
    jti: str = ""
    session: str = ""
    expires_at: float = 0.0
    operator: bool = False

    @property
    def architect(self) -> bool:
        """Architects see every type and issue of their project."""
        return SPAWN_AGENTS in self.permissions


ANONYMOUS = Principal(subject="")
