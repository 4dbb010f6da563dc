"""What a sidecar sends along with an attempt, in place of the records that a runner does not have."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.runners.needs import AgentContext
from cco_sidecar.storage.base import StoredAgent
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.runner_service_pb2 import LaunchRun

# Of the attempt that the current task starts.
current: ContextVar[LaunchRun] = ContextVar("launch")


class Given:
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
        launch = current.get()
        return AgentContext(launch.context_json, launch.context_markdown)

    async def values(self, names: Sequence[str]) -> dict[str, str]:
        return dict(current.get().secrets)

    def require(self, agent_type: str) -> AgentType:
        launch = current.get()
        known: dict[str, Any] = {
            field.name: tuple(value) if field.is_repeated else value
            for field in launch.agent_type.DESCRIPTOR.fields
            for value in (getattr(launch.agent_type, field.name),)
        }
        return AgentType(**known, blueprint=launch.blueprint if launch.HasField("blueprint") else None)

    async def save(self, agent: Agent) -> None:
        """Does nothing: the sidecar saves what the runner answers."""

    async def page(self, project: str, *, status: int, issue: str, limit: int) -> Sequence[StoredAgent]:
        """Returns nothing: the sidecar says what a worktree starts from."""
        return ()
