"""What services ask of storage, as small Protocols. tests/storage/contract.py is the suite that every backend runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from orchestra.v1.agent_service_pb2 import Agent, SpawnAgentRequest
from orchestra.v1.approval_service_pb2 import Approval
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.result_service_pb2 import Result


class Announcement(NamedTuple):
    """An event that was stored with the change it announces, and is to be published."""

    number: int
    project: str
    event: Event


class OutboxStore(Protocol):
    """Announcements that are not known to be published. The stores below add them, each in the transaction of its
    change."""

    async def pending(self) -> Sequence[Announcement]:
        """Oldest first."""
        ...

    async def done(self, number: int) -> None:
        """Forgets one whose event is published."""
        ...


class StoredResult(NamedTuple):
    """``number`` grows with every stored result."""

    number: int
    result: Result


class Added(NamedTuple):
    number: int
    announcement: Announcement


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

    async def add(self, result: Result, session: str, event: Event) -> Added:
        """Stores a result with its event. ``session``: the run of the agent that stores it; empty for none."""
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

    async def version(self, project: str, issue: str) -> int:
        """Changes whenever a result of the issue (of any issue when empty) is stored, by this process or another."""
        ...


class Revocation(NamedTuple):
    """``kind``: ``jti`` (one token), ``sid`` (those of one run) or ``sub`` (an agent's, issued up to ``at``). Times are
    seconds since 1970 UTC."""

    kind: str
    value: str
    at: float


class RevocationStore(Protocol):
    """Revoked tokens."""

    async def revoke(self, kind: str, value: str, at: float, until: float) -> None:
        """``until``: when it may be forgotten."""
        ...

    async def since(self, revision: int) -> tuple[Sequence[Revocation], int]:
        """What was revoked after a revision, by this process or another, and the newest revision; older ones may come
        again."""
        ...

    def load(self, now: float) -> tuple[Sequence[Revocation], int]:
        """What is still in force, and the newest revision; forgets the rest. Blocks: for the start."""
        ...


class StoredAgent(NamedTuple):
    """``number`` grows with every agent."""

    number: int
    agent: Agent
    request: SpawnAgentRequest


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

    async def save(self, agent: Agent, event: Event | None = None) -> Announcement | None:
        """With the event that announces the change, if any."""
        ...

    async def by_id(self, agent_id: str) -> StoredAgent | None: ...

    async def unfinished(self) -> Sequence[StoredAgent]:
        """Not ended; oldest first."""
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
    """Questions to a person. Every method runs off the event loop; what returned is on disk."""

    async def add(self, approval: Approval, event: Event, cause: str = "") -> Announcement | None:
        """None when ``cause`` was asked about before, and nothing is added."""
        ...

    async def answer(self, approval: Approval, event: Event) -> Announcement | None:
        """None when it was answered before, and nothing is changed."""
        ...

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


class Stores(Protocol):
    """The records, by what they are of."""

    @property
    def agents(self) -> AgentStore: ...

    @property
    def handover(self) -> HandoverStore: ...

    @property
    def results(self) -> ResultStore: ...

    @property
    def approvals(self) -> ApprovalStore: ...

    @property
    def credentials(self) -> CredentialStore: ...

    @property
    def revocations(self) -> RevocationStore: ...

    @property
    def outbox(self) -> OutboxStore: ...


class NewEvent(NamedTuple):
    """An event to be stored. ``payload``: a serialised Event without its id, ``micros``: its time, in microseconds
    since 1970 UTC, ``ttl``: seconds."""

    project: str
    micros: int
    ttl: int
    payload: bytes


class EventRecord(NamedTuple):
    """The same as it is stored, with the sequence number that the log gave it."""

    project: str
    seq: int
    micros: int
    ttl: int
    payload: bytes


class OpenedLog(NamedTuple):
    """``epoch``: 8 hex digits, made when the project's log is new; ``head``: the highest number that was ever given;
    ``records``: what is stored, in order."""

    epoch: str
    head: int
    records: Sequence[EventRecord]


class EventLog(Protocol):
    """Events on disk, by project, in the order in which they were appended."""

    async def projects(self) -> Sequence[str]: ...

    async def open(self, project: str) -> OpenedLog:
        """Before the first ``append`` of a project."""
        ...

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[list[int]]:
        """Their sequence numbers, once all are on disk. Calls are served in their order. Raises OSError when none
        was stored."""
        ...

    def trim(self, project: str, upto: int) -> None:
        """Events up to this number are no longer needed."""
        ...

    async def probe(self) -> None:
        """Raises OSError as long as nothing can be written."""
        ...

    async def close(self) -> None:
        """Stores what waits."""
        ...
