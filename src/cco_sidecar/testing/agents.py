"""Agents for tests: spawned as real processes that execute a script."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from cco_sidecar.core.agent_status import ENDED, STATUSES
from cco_sidecar.testing.process import SidecarProcess

SCRIPTED_AGENT = Path(__file__).with_name("scripted_agent.py")


def scripted_command() -> list[str]:
    """Returns the command line of the scripted agent, for use after ``--`` or in ``agents.runners.<type>.command``."""
    return [sys.executable, str(SCRIPTED_AGENT)]


class SpawnedAgent:
    """A handle of an agent that runs under a sidecar."""

    def __init__(self, sidecar: SidecarProcess, spawned: dict[str, Any]) -> None:
        self._sidecar = sidecar
        self.spawned = spawned
        self.id: str = spawned["agent_id"]
        self.token: str | None = spawned["jwt_token"]

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that authenticate as the agent."""
        return {"Authorization": f"Bearer {self.token}"}

    def get(self) -> dict[str, Any]:
        """Returns the agent's record as REST returns it."""
        answer = self._sidecar.request("GET", f"/api/agents/{self.id}/status", self._sidecar.operator)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait(self, *statuses: str, timeout: float = 30.0) -> dict[str, Any]:
        """Waits until the agent has one of the statuses, or has ended if none is given, and returns its record.
        ``timeout``: seconds. Raises TimeoutError, and ValueError for an unknown status."""
        wanted = statuses or ENDED
        if unknown := set(wanted) - set(STATUSES):
            raise ValueError(f"unknown status '{min(unknown)}'; expected one of {', '.join(STATUSES)}")
        deadline = time.monotonic() + timeout
        while (agent := self.get())["status"] not in wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.id} is {agent['status']} ({agent['reason']}), expected {' or '.join(wanted)}"
                )
            time.sleep(0.02)
        return agent

    def stop(self, *, force: bool = False, timeout: float = 10.0) -> dict[str, Any]:
        """Stops the agent. ``timeout``: seconds until it is killed; ``force``: kills it at once."""
        path = f"/api/agents/{self.id}?force={str(force).lower()}&timeout={timeout}"
        answer = self._sidecar.request("DELETE", path, self._sidecar.operator, timeout=timeout + 20)
        assert answer.status_code == 200, answer.text
        stopped: dict[str, Any] = answer.json()
        return stopped

    def logs(self) -> list[str]:
        """Returns the text of each line of the last attempt."""
        answer = self._sidecar.request("GET", f"/api/agents/{self.id}/logs", self._sidecar.operator)
        assert answer.status_code == 200, answer.text
        return [line["text"] for part in answer.text.splitlines() for line in json.loads(part)["lines"]]


def spawn_scripted(
    sidecar: SidecarProcess,
    steps: list[dict[str, Any]] | None = None,
    *,
    agent_type: str = "python-specialist",
    issue: str = "issue-123",
    project: str = "default",
    environment: dict[str, str] | None = None,
    **options: Any,
) -> SpawnedAgent:
    """Spawns a scripted agent; without ``steps`` it executes the documented cycle. ``options``: additional fields of
    the spawn request."""
    script = {"TASK_SCRIPT": json.dumps(steps)} if steps is not None else {}
    body = {
        "agent_type": agent_type,
        "issue_id": issue,
        "project_id": project,
        "task": "what the script says",
        "command": scripted_command(),
        "environment": script | (environment or {}),
        **options,
    }
    answer = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body)
    assert answer.status_code == 201, answer.text
    return SpawnedAgent(sidecar, answer.json())
