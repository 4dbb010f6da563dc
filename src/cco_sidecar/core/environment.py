"""Variables of an agent's environment that nobody but the sidecar sets."""

from __future__ import annotations

# In the environment of everything that an agent starts: the only trace of a process that left its family.
MARK = "AGENT_RUN_DIR"
_RESERVED = frozenset(
    (
        "AGENT_ID",
        "AGENT_TYPE",
        "ISSUE_ID",
        "PROJECT_ID",
        "SIDECAR_URL",
        "SIDECAR_GRPC",
        "JWT_TOKEN",
        "JWT_TOKEN_FILE",
        "CONTEXT_FILE",
        "AGENT_TASK",
        "AGENT_TASK_FILE",
        "AGENT_ATTEMPT",
        MARK,
    )
)
OWN_SETTINGS = "CCO_SIDECAR_"
# The descriptor of a pipe: the sidecar ends when it is closed at the other end.
LIFELINE = "CCO_SIDECAR_LIFELINE_FD"


def is_reserved(name: str) -> bool:
    """What identifies an agent, and the sidecar's own settings."""
    return name in _RESERVED or name.startswith(OWN_SETTINGS)
