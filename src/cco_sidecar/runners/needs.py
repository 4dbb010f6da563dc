"""What a start needs of the rest: contexts, credentials, agent types and records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.storage.base import StoredAgent
from orchestra.v1.agent_service_pb2 import Agent


class AgentContext(NamedTuple):
    """A context as JSON, in the form of the REST API, and as Markdown."""

    json: bytes
    markdown: bytes


class ContextSource(Protocol):
    """Renders contexts. Implemented by the context service."""

    async def for_agent(
        self,
        project: str,
        issue: str,
        agent_type: str,
        task: str,
        requirements: Sequence[str],
        worktree: Path | None,
    ) -> AgentContext:
        """Returns the context of the project's directory, or of one of its worktrees, within the budget of the type.
        Raises SidecarError."""
        ...


class CredentialSource(Protocol):
    """Returns secrets. Implemented by the credential service."""

    async def values(self, names: Sequence[str]) -> dict[str, str]:
        """Returns the values by name. Raises SidecarError: CRD_001 for an unknown name, CRD_002 for an unusable key."""
        ...


class Types(Protocol):
    """What is known of agent types."""

    def require(self, agent_type: str) -> AgentType:
        """Raises SidecarError (AGT_002)."""
        ...


class Places(Protocol):
    """Where agents are, and were: the part of AgentStore that a start needs."""

    async def save(self, agent: Agent) -> object: ...

    async def page(self, project: str, *, status: int, issue: str, limit: int) -> Sequence[StoredAgent]: ...
