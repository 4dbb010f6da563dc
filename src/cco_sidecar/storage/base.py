"""What the rooms ask of storage, as small Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

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


class ResultStore(Protocol):
    """Results and their history. Every method runs off the event loop; what returned is on disk."""

    async def add(self, result: Result) -> int:
        """Stores a result whose event is still to be published; returns its number."""
        ...

    async def set_event(self, result_id: str, event_id: str) -> None: ...

    async def unpublished(self) -> Sequence[StoredResult]:
        """Results whose event is not known to be published, oldest first."""
        ...

    async def by_id(self, project: str, result_id: str) -> StoredResult | None: ...

    async def newest(self, project: str, issue: str, agent_type: str) -> StoredResult | None: ...

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
        """Newest first; ``latest`` keeps the newest of each issue and agent type."""
        ...

    async def totals(self) -> ResultTotals: ...

    def version(self, project: str, issue: str) -> int:
        """Changes whenever a result of the issue (any issue when empty) is stored. Does not touch the disk."""
        ...


class RevocationStore(Protocol):
    """Revoked tokens. Times are seconds since 1970 UTC."""

    async def revoke(self, kind: str, value: str, at: float, until: float) -> None:
        """``kind``: ``jti`` (one token) or ``sub`` (an agent's tokens issued up to ``at``)."""
        ...

    def load(self, now: float) -> Sequence[tuple[str, str, float]]:
        """(kind, value, at) of what is still in force; forgets the rest."""
        ...
