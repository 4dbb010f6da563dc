"""The storage interfaces, as small Protocols. Those of the event engine are in event_stores.py.

Every backend passes the suite in tests/storage/contract.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from cco_sidecar.storage.cluster import ClusterStore
from cco_sidecar.storage.documents import DocumentStore
from cco_sidecar.storage.event_stores import (
    Announcement,
    ConsumerStore,
    OutboxStore,
    ScheduleStore,
    SchemaStore,
    WebhookStore,
)
from cco_sidecar.storage.knowledge import KnowledgeStore
from cco_sidecar.storage.sessions import SessionStore
from orchestra.v1.agent_service_pb2 import Agent, AgentStatus, SpawnAgentRequest
from orchestra.v1.approval_service_pb2 import Approval
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry
from orchestra.v1.result_service_pb2 import Result


class StoredResult(NamedTuple):
    """A stored result. ``number`` grows with every result."""

    number: int
    result: Result


class Added(NamedTuple):
    number: int
    announcement: Announcement


class ResultTotals(NamedTuple):
    """Counts over all results. ``mean_execution_ms`` is 0 when no result reports it."""

    succeeded: int
    failed: int
    mean_execution_ms: float


# The size limit of one page of results, so that a slow reader holds no more memory.
PAGE_BYTES = 2**20


MAX_OUTCOMES = 200


class Outcome(NamedTuple):
    """Agent type and status of a result. ``status`` is an orchestra.v1.ResultStatus."""

    agent_type: str
    status: int


class ResultStore(Protocol):
    """Results and their history. No method blocks the event loop; a write is on disk when it returns."""

    async def add(
        self, result: Result, session: str, event: Event, key: str = "", learned: Sequence[KnowledgeEntry] = ()
    ) -> Added | StoredResult:
        """Stores a result with its event, and what is learned from it. ``session`` is the run of the agent that stores
        it; empty for none.

        If that run (without one, the result's agent) has stored a result with the same idempotency ``key``, nothing is
        stored, and that result is returned.
        """
        ...

    async def by_id(self, project: str, result_id: str) -> StoredResult | None: ...

    async def newest(self, project: str, issue: str, agent_type: str) -> StoredResult | None: ...

    async def newest_of(self, session: str) -> str:
        """Returns the id of the newest result of an agent's run, or an empty string."""
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
        """Returns results, newest first. ``latest`` keeps only the newest per issue and agent type.

        Stops at ``PAGE_BYTES`` of results, but returns at least one if there is any.
        """
        ...

    async def outcomes(self, project: str, issue: str, *, before: str) -> Sequence[Outcome]:
        """Returns the outcomes of the issue's results older than the result ``before``, newest first.

        Returns at most ``MAX_OUTCOMES``.
        """
        ...

    async def stored_bytes(self, project: str) -> int:
        """Returns the size of all results of a project."""
        ...

    async def totals(self) -> ResultTotals: ...

    async def version(self, project: str, issue: str) -> int:
        """Returns a number that changes whenever a result of the issue is stored, by any process.

        An empty issue stands for all issues of the project.
        """
        ...


class Revocation(NamedTuple):
    """A revocation. ``at`` is in Unix seconds.

    ``kind`` is ``jti`` (one token), ``sid`` (all tokens of a run) or ``sub`` (an agent's tokens issued up to ``at``).
    """

    kind: str
    value: str
    at: float


class RevocationStore(Protocol):
    """Revoked tokens."""

    async def revoke(self, kind: str, value: str, at: float, until: float) -> None:
        """Stores a revocation. It may be deleted after ``until``. Times are in Unix seconds."""
        ...

    async def since(self, revision: int) -> tuple[Sequence[Revocation], int]:
        """Returns what any process revoked after a revision, and the newest revision. May repeat older ones."""
        ...

    def load(self, now: float) -> tuple[Sequence[Revocation], int]:
        """Returns what is still in force, and the newest revision; deletes the rest. Blocks; for startup only."""
        ...


class StoredAgent(NamedTuple):
    """A stored agent. ``number`` grows with every agent."""

    number: int
    agent: Agent
    request: SpawnAgentRequest


class Spent(NamedTuple):
    """Usage of agents, as far as they reported it."""

    agents: int
    tokens: float
    cost_usd: float


class AgentTotals(NamedTuple):
    """Agents by final status. ``spawned`` counts all agents ever created."""

    completed: int
    failed: int
    stopped: int
    spawned: int


class TypeTotals(NamedTuple):
    """Agents of a type with a status: how many, and what they used, as far as their programs report it."""

    agent_type: str
    status: AgentStatus
    agents: int
    tokens: float
    cost_usd: float


# The code of the error for a change of an agent that another sidecar has taken over.
TAKEN_OVER = "AGT_010"


class AgentStore(Protocol):
    """Agents, running and ended. No method blocks the event loop; a write is on disk when it returns."""

    async def add(self, agent: Agent, request: SpawnAgentRequest, *, created: int) -> int:
        """Adds an agent and returns its number. ``created`` is in Unix microseconds.

        Adds nothing and returns 0 if there already is an agent with the same ``cause``.
        """
        ...

    async def by_cause(self, cause: str) -> StoredAgent | None:
        """Returns the agent that was spawned for this cause."""
        ...

    async def has_cause(self, cause: str) -> bool:
        """Reports whether an agent was created for a cause."""
        ...

    async def save(self, agent: Agent, event: Event | None = None) -> Announcement | None:
        """Updates an agent, together with the event that announces the change, if any. Raises SidecarError (AGT_010) if
        another sidecar has taken it over since: the agent is no longer that of ``agent.sidecar_id``."""
        ...

    async def move(self, agent: Agent, before: Agent) -> bool:
        """Updates an agent that the sidecar ``agent.sidecar_id`` takes over. Returns False, and changes nothing, if it
        is no longer as ``before``, or its former sidecar is there."""
        ...

    async def by_id(self, agent_id: str) -> StoredAgent | None: ...

    async def home_of(self, agent_id: str) -> tuple[str, str]:
        """Returns the IDs of an agent's sidecar and of its project; empty for an unknown agent."""
        ...

    async def sidecar_of(self, agent_id: str) -> str:
        """Returns the ID of the sidecar that runs an agent, or ran it last; empty for an unknown agent."""
        ...

    async def unfinished(self, sidecar_id: str | None = None) -> Sequence[StoredAgent]:
        """Returns the agents that have not ended, oldest first: those of one sidecar, or all."""
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
        """Returns agents, newest first. 0, an empty string or None as a filter selects all."""
        ...

    async def totals(self) -> AgentTotals: ...

    async def totals_by_type(self) -> Sequence[TypeTotals]:
        """Returns a total for each type and status that agents have."""
        ...

    async def spent(self, project: str, *, issue: str = "", tree: str = "", since: int = 0) -> Spent:
        """Returns the usage of an issue, of a spawn tree, or of everything agents and rules spawned after ``since``.

        ``since`` is in Unix microseconds.
        """
        ...


class HandoverStore(Protocol):
    """How far the handover rules have read the events."""

    async def positions(self) -> dict[str, int]:
        """Returns the sequence number of the last event read, by project."""
        ...

    async def set_position(self, project: str, seq: int) -> None: ...


class StoredApproval(NamedTuple):
    number: int
    approval: Approval


class ApprovalStore(Protocol):
    """Approvals: questions to a person. No method blocks the event loop; a write is on disk when it returns."""

    async def add(self, approval: Approval, event: Event, cause: str = "") -> Announcement | None:
        """Adds an approval. Adds nothing and returns None if there is one with the same ``cause``."""
        ...

    async def answer(self, approval: Approval, event: Event) -> Announcement | None:
        """Stores an answer. Changes nothing and returns None if it was already answered."""
        ...

    async def by_id(self, approval_id: str) -> Approval | None: ...

    async def page(
        self, project: str, *, status: int = 0, issue: str = "", before: int | None = None, limit: int = 100
    ) -> Sequence[StoredApproval]:
        """Returns approvals, newest first."""
        ...


class SealedCredential(NamedTuple):
    """An encrypted credential. Times are in Unix microseconds."""

    name: str
    sealed: bytes
    created: int
    updated: int


class CredentialStore(Protocol):
    """Credentials. Their values are encrypted by the caller."""

    async def put(self, credential: SealedCredential) -> SealedCredential:
        """Adds or replaces a credential. Returns it as stored; ``created`` keeps the time it was first stored."""
        ...

    async def get(self, name: str) -> SealedCredential | None: ...

    async def all(self) -> Sequence[SealedCredential]: ...

    async def delete(self, name: str) -> bool: ...


class Stores(Protocol):
    """All record stores of one backend."""

    @property
    def cluster(self) -> ClusterStore: ...

    @property
    def agents(self) -> AgentStore: ...

    @property
    def handover(self) -> HandoverStore: ...

    @property
    def results(self) -> ResultStore: ...

    @property
    def documents(self) -> DocumentStore: ...

    @property
    def knowledge(self) -> KnowledgeStore: ...

    @property
    def approvals(self) -> ApprovalStore: ...

    @property
    def consumers(self) -> ConsumerStore: ...

    @property
    def credentials(self) -> CredentialStore: ...

    @property
    def revocations(self) -> RevocationStore: ...

    @property
    def schedules(self) -> ScheduleStore: ...

    @property
    def schemas(self) -> SchemaStore: ...

    @property
    def webhooks(self) -> WebhookStore: ...

    @property
    def sessions(self) -> SessionStore: ...

    @property
    def outbox(self) -> OutboxStore: ...
