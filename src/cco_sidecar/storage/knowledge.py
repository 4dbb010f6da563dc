"""The interface of the store of what agents learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from cco_sidecar.core.terms import Term
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry, KnowledgeKind, KnowledgeStatus

# Pending entries of an issue; for newer ones, the oldest are dropped.
MAX_PENDING = 1000


class StoredEntry(NamedTuple):
    """``number`` grows with every entry."""

    number: int
    entry: KnowledgeEntry


class FoundEntry(NamedTuple):
    """``rank`` is higher for an entry that matches better."""

    entry: KnowledgeEntry
    rank: float


class Wanted(NamedTuple):
    """Selects entries. ``reader``: the issue whose pending entries are among them; None for those of all issues."""

    kind: KnowledgeKind = KnowledgeKind.KNOWLEDGE_KIND_UNSPECIFIED
    status: KnowledgeStatus = KnowledgeStatus.KNOWLEDGE_STATUS_UNSPECIFIED
    issue: str = ""
    reader: str | None = None


class KnowledgeStore(Protocol):
    """Entries, found by their words. A write is on disk when it returns. `ResultStore.add` adds those of results."""

    async def add(self, entry: KnowledgeEntry) -> KnowledgeEntry:
        """Adds an entry. Returns it, or the one of the issue that has its kind and text already."""
        ...

    async def by_id(self, project: str, entry_id: str) -> KnowledgeEntry | None: ...

    async def page(
        self, project: str, wanted: Wanted, *, before: int | None = None, limit: int = 100
    ) -> Sequence[StoredEntry]:
        """Returns entries, newest first."""
        ...

    async def search(
        self, project: str, terms: Sequence[Term], wanted: Wanted, *, some: bool = False, limit: int = 20
    ) -> Sequence[FoundEntry]:
        """Returns entries with all terms, the best first. ``some``: one term is enough."""
        ...

    async def change(
        self, project: str, entry_id: str, make: Callable[[KnowledgeEntry], None]
    ) -> KnowledgeEntry | None:
        """Changes the status of an entry, while nobody else does. Returns None if there is none. ``make`` may be called
        twice, and may raise SidecarError."""
        ...

    async def delete(self, project: str, entry_id: str, check: Callable[[KnowledgeEntry], None]) -> bool:
        """Deletes an entry, unless ``check`` raises SidecarError. Returns False if there is none."""
        ...

    async def version(self, project: str) -> tuple[int, ...]:
        """Returns the number of approved entries, and more that differs whenever they do."""
        ...
