"""What a sidecar sends along with an attempt, in place of the records that a runner does not have."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.runners.needs import AgentContext
from cco_sidecar.runners.run import Run
from cco_sidecar.storage.base import StoredAgent
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.runner_service_pb2 import LaunchRun

_WORKTREE_FILE = "worktree"


class Launch(NamedTuple):
    """The order, and the run that it starts."""

    order: LaunchRun
    run: Run


# Of the attempt that the current task starts.
current: ContextVar[Launch] = ContextVar("launch")


def worktree_of(run: Run) -> str:
    """Returns the path of a run's worktree; empty without one."""
    try:
        return (run.directory / _WORKTREE_FILE).read_text()
    except OSError:
        return ""


class OrderInputs:
    """Implements ContextSource, CredentialSource, and what the launcher needs of types and of the store."""

    async def for_agent(
        self,
        project: str,
        issue: str,
        agent_type: str,
        task: str,
        requirements: Sequence[str],
        worktree: Path | None,
    ) -> AgentContext:
        launch = current.get().order
        return AgentContext(launch.context_json, launch.context_markdown)

    async def values(self, names: Sequence[str]) -> dict[str, str]:
        return dict(current.get().order.secrets)

    def require(self, agent_type: str) -> AgentType:
        launch = current.get().order
        known: dict[str, Any] = {
            field.name: tuple(value) if field.is_repeated else value
            for field in launch.agent_type.DESCRIPTOR.fields
            for value in (getattr(launch.agent_type, field.name),)
        }
        return AgentType(**known, blueprint=launch.blueprint if launch.HasField("blueprint") else None)

    async def save(self, agent: Agent) -> None:
        """Notes the worktree, which the sidecar learns from the answer, perhaps of a later process. Raises OSError."""
        path = current.get().run.directory / _WORKTREE_FILE
        await asyncio.to_thread(write_atomically, path, agent.worktree.encode(), mode=PRIVATE_FILE)

    async def page(self, project: str, *, status: int, issue: str, limit: int) -> Sequence[StoredAgent]:
        """Returns nothing: the sidecar says what a worktree starts from."""
        return ()
