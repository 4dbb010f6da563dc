"""Variables of an agent's environment that nobody but the sidecar sets."""

from __future__ import annotations

from collections.abc import Mapping

from cco_sidecar.core.hosts import LOOPBACK_NAMES

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


_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


def without_proxy_for_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, where proxies do not stand between a program and this machine."""
    changed = dict(environment)
    if not any(name.lower() in _PROXIES and value for name, value in environment.items()):
        return changed
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        given = changed.get(name) or (changed.get("no_proxy", "") or changed.get("NO_PROXY", ""))
        listed = [host.strip() for host in given.split(",") if host.strip()]
        changed[name] = ",".join(dict.fromkeys((*listed, *LOOPBACK_NAMES)))
    return changed
