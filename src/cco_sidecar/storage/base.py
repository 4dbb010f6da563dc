"""What the rooms ask of storage, as small Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest
from orchestra.v1.approval_service_pb2 import Approval
from orchestra.v1.result_service_pb2 import Result


class StoredResult(NamedTuple):
    """``number`` grows with every stored result; ``event_id`` is empty until its event is published."""

    number: int
    result: Result
    event_id: str


class ResultTotals(NamedTuple):
    """``mean_execution_ms`` is 0 when no result reports it."""

    succeeded: int
    failed: int
    mean_execution_ms: float


# Of the bodies of one page of results: whoever reads slowly holds no more.
PAGE_BYTES = 2**20


MOST_OUTCOMES = 200


class Outcome(NamedTuple):
    """``status``: orchestra.v1.ResultStatus."""

    agent_type: str
    status: int


class ResultStore(Protocol):
    """Results and their history. Every method runs off the event loop; what returned is on disk."""

    async def add(self, result: Result, session: str = "") -> int:
        """Stores a result whose event is still to be published; returns its number. ``session``: the run of the agent
        that stores it."""
        ...

    async def set_event(self, result_id: str, event_id: str) -> None: ...

    async def unpublished(self) -> Sequence[StoredResult]:
        """Results whose event is not known to be published, oldest first."""
        ...

    async def by_id(self, project: str, result_id: str) -> StoredResult | None: ...

    async def newest(self, project: str, issue: str, agent_type: str) -> StoredResult | None: ...

    async def newest_of(self, session: str) -> str:
        """The id of the newest result of an agent's run; empty when it has none."""
        ...

    async def page(
        self,
        project: str,
        *,
        issue: str = "",
        agent_type: str = "",
        before: int | None = None,
        limit: int = 100,
        latest: bool = False,
    ) -> Sequence[StoredResult]:
        """Newest first; ``latest`` keeps the newest of each issue and agent type. At least one, and no more than
        ``PAGE_BYTES`` of them."""
        ...

    async def outcomes(self, project: str, issue: str, *, before: str) -> Sequence[Outcome]:
        """Agent types and statuses of the issue's results that are older than the one with the id ``before``, newest
        first, up to ``MOST_OUTCOMES``."""
        ...

    async def stored_bytes(self, project: str) -> int:
        """Of all results of a project."""
        ...

    async def totals(self) -> ResultTotals: ...

    def version(self, project: str, issue: str) -> int:
        """Changes whenever a result of the issue (any issue when empty) is stored. Does not touch the disk."""
        ...


class RevocationStore(Protocol):
    """Revoked tokens. Times are seconds since 1970 UTC."""

    async def revoke(self, kind: str, value: str, at: float, until: float) -> None:
        """``kind``: ``jti`` (one token), ``sid`` (those of one run) or ``sub`` (an agent's, issued up to ``at``)."""
        ...

    def load(self, now: float) -> Sequence[tuple[str, str, float]]:
        """(kind, value, at) of what is still in force; forgets the rest."""
        ...


class StoredAgent(NamedTuple):
    """``unannounced``: the type of the event that still has to be published; empty when none."""

    number: int
    agent: Agent
    request: SpawnAgentRequest
    unannounced: str


class Spent(NamedTuple):
    """What agents have used, as far as they reported it."""

    agents: int
    tokens: float
    cost_usd: float


class AgentTotals(NamedTuple):
    """Agents by how they ended; ``spawned`` are all that there ever were."""

    completed: int
    failed: int
    stopped: int
    spawned: int


class AgentStore(Protocol):
    """Agents, running and ended. Every method runs off the event loop; what returned is on disk."""

    async def add(self, agent: Agent, request: SpawnAgentRequest, *, created: int) -> int:
        """``created``: microseconds since 1970 UTC. Returns its number, which grows; 0 when its ``cause`` already has
        an agent, and nothing is added."""
        ...

    async def has_cause(self, cause: str) -> bool:
        """An agent was made for it."""
        ...

    async def save(self, agent: Agent, unannounced: str | None = None) -> None:
        """``unannounced``: the type of the event that is still to come; left as it is when None."""
        ...

    async def announced(self, agent_id: str, event_type: str) -> None:
        """The event of that type has come out."""
        ...

    async def by_id(self, agent_id: str) -> StoredAgent | None: ...

    async def unfinished(self) -> Sequence[StoredAgent]:
        """Not ended, or with an event still to be published; oldest first."""
        ...

    async def page(
        self,
        project: str | None,
        *,
        status: int = 0,
        agent_type: str = "",
        issue: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[StoredAgent]:
        """Newest first; 0, empty texts and no project stand for all."""
        ...

    async def totals(self) -> AgentTotals: ...

    async def spent(self, project: str, *, issue: str = "", tree: str = "", since: int = 0) -> Spent:
        """Of an issue, of a spawning tree, or of all that agents and rules asked for after ``since``, in microseconds
        since 1970 UTC."""
        ...


class HandoverStore(Protocol):
    """How far the hand-over rules have read."""

    async def positions(self) -> dict[str, int]:
        """Project to the sequence number of the last event that was read."""
        ...

    async def set_position(self, project: str, seq: int) -> None: ...


class StoredApproval(NamedTuple):
    number: int
    approval: Approval


class ApprovalStore(Protocol):
    """Questions to a person; what is stored says which event is still to come. Every method runs off the event loop;
    what returned is on disk."""

    async def add(self, approval: Approval, cause: str = "") -> bool:
        """False when ``cause`` was asked about before, and nothing is added."""
        ...

    async def answer(self, approval: Approval) -> bool:
        """False when it was answered before, and nothing is changed."""
        ...

    async def unannounced(self) -> Sequence[tuple[Approval, str]]:
        """Approvals whose event, of the type given, is not known to be published."""
        ...

    async def announced(self, approval_id: str, event_type: str) -> None: ...

    async def by_id(self, approval_id: str) -> Approval | None: ...

    async def page(
        self, project: str, *, status: int = 0, issue: str = "", before: int | None = None, limit: int = 100
    ) -> Sequence[StoredApproval]:
        """Newest first."""
        ...


class SealedCredential(NamedTuple):
    """``sealed`` is encrypted; times are microseconds since 1970 UTC."""

    name: str
    sealed: bytes
    created: int
    updated: int


class CredentialStore(Protocol):
    """Secrets, encrypted before they come here."""

    async def put(self, credential: SealedCredential) -> SealedCredential:
        """Adds or replaces; returns it as it is now, with the time of its first storing."""
        ...

    async def get(self, name: str) -> SealedCredential | None: ...

    async def all(self) -> Sequence[SealedCredential]: ...

    async def delete(self, name: str) -> bool: ...
