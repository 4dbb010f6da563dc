"""The MCP servers of a blueprint, for programs that read them from a file (``--mcp-config`` of Claude Code)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.errors import SidecarError, spawn_failed
from cco_sidecar.runners.presets import Runner, takes
from cco_sidecar.storage.blueprints import SERVERS, servers_of

_MAX_BYTES = 4 * 2**20


def check(known: AgentType, runner: Runner) -> None:
    """Raises SidecarError (AGT_001) if the runner's program cannot get the blueprint's servers."""
    if _servers(known) and not takes(runner.command, "mcp_config"):
        raise spawn_failed(
            f"blueprint '{known.type}' has MCP servers, but the command of its runner ('{runner.preset}') has no "
            f"{{mcp_config}}; fix: set another runner in agents.runners.{known.type} of the config"
        )


def of_run(known: AgentType, runner: Runner) -> bytes | None:
    """Returns the file with the servers of the blueprint and of the runner's ``mcp_config``; None without a blueprint
    that has any. Raises SidecarError (AGT_001)."""
    own = _servers(known)
    if not own:
        return None
    configured = _configured(runner)
    return orjson.dumps(configured | {SERVERS: {**configured.get(SERVERS, {}), **own}}, option=orjson.OPT_INDENT_2)


def _servers(known: AgentType) -> dict[str, Any]:
    return servers_of(known.blueprint) if known.blueprint is not None else {}


def _configured(runner: Runner) -> dict[str, Any]:
    """Returns what the runner's ``mcp_config`` says: a file, or JSON. Raises SidecarError (AGT_001)."""
    if not runner.mcp_config:
        return {}
    try:
        data = runner.mcp_config.encode()
        if not data.lstrip().startswith(b"{"):
            if not Path(runner.mcp_config).is_absolute():
                # Not read here: in the working directory it may be a link to what the agent must not read.
                raise _unusable(runner, "with the blueprint's MCP servers, an absolute path is required")
            with open(runner.mcp_config, "rb") as file:
                data = file.read(_MAX_BYTES)
        found = orjson.loads(data)
    except OSError as problem:
        raise _unusable(runner, problem.strerror or str(problem)) from problem
    except ValueError as problem:
        raise _unusable(runner, f"it is not JSON: {problem}") from problem
    if not isinstance(found, dict) or not isinstance(found.get(SERVERS, {}), dict):
        raise _unusable(runner, f"expected an object with '{SERVERS}'")
    return found


def _unusable(runner: Runner, why: str) -> SidecarError:
    return spawn_failed(f"the runner's mcp_config {runner.mcp_config[:200]!r} cannot be used: {why}")
