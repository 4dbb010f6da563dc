"""Environment variables of agents that only the sidecar sets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cco_sidecar.core.hosts import LOOPBACK_NAMES

# Inherited by every process an agent starts; the only way to find one that left its process group and session.
MARK = "AGENT_RUN_DIR"
# Whoever has it can act as the runner.
RUNNER_TOKEN = "CCO_RUNNER_TOKEN"
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
        "CONTEXT_MARKDOWN_FILE",
        "AGENT_TASK",
        "AGENT_TASK_FILE",
        "AGENT_ATTEMPT",
        MARK,
        RUNNER_TOKEN,
    )
)
OWN_SETTINGS = "CCO_SIDECAR_"
# The descriptor of a pipe: the sidecar stops when the other end is closed.
LIFELINE = "CCO_SIDECAR_LIFELINE_FD"


_OF_SERVICE = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?$")


def is_service_link(name: str, text: str) -> bool:
    """Reports whether Kubernetes has set a variable, for a Service whose name is like that of a setting.

    A Service `cco-sidecar` gives each pod of its namespace CCO_SIDECAR_PORT=tcp://10.96.0.7:3001, and others.
    """
    return text.startswith(("tcp://", "udp://", "sctp://")) or _OF_SERVICE.search(name) is not None


def is_reserved(name: str) -> bool:
    """Reports whether a variable identifies an agent or is a setting of the sidecar."""
    return name in _RESERVED or name.startswith(OWN_SETTINGS)


_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


def without_proxy_for_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment, extended so that no proxy is used for the loopback."""
    changed = dict(environment)
    if not any(name.lower() in _PROXIES and value for name, value in environment.items()):
        return changed
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        given = changed.get(name) or (changed.get("no_proxy", "") or changed.get("NO_PROXY", ""))
        listed = [host.strip() for host in given.split(",") if host.strip()]
        changed[name] = ",".join(dict.fromkeys((*listed, *LOOPBACK_NAMES)))
    return changed
