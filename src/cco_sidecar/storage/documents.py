"""The interface of the store of documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from cco_sidecar.core.terms import Term
from cco_sidecar.storage.event_stores import Announcement
from orchestra.v1.document_service_pb2 import Document, DocumentRelation, DocumentRevision
from orchestra.v1.event_service_pb2 import Event

# Revisions of a document that are kept.
MAX_REVISIONS = 20
# Documents that are found by their names at once.
MAX_NAMED = 20
# Relations of one document.
MAX_RELATIONS = 1000
# Documents that may be deleted at once: one with its children and theirs.
MAX_FAMILY = 1000
# The contents that a search returns, in all; one document may have twice as much.
MAX_SEARCHED_BYTES = 8 * 2**20


class StoredDocument(NamedTuple):
    """``number`` grows with every document."""

    number: int
    document: Document


class Content(NamedTuple):
    """The content of a revision."""

    document: Document
    revision: DocumentRevision
    data: bytes


class Change(NamedTuple):
    """What a document is changed to. ``data`` is the content of its new revision; None if that stays as it is."""

    document: Document
    data: bytes | None
    revision: DocumentRevision | None
    event: Event


class Changed(NamedTuple):
    document: Document
    announcement: Announcement


class Deleted(NamedTuple):
    document_id: str
    announcement: Announcement


class Found(NamedTuple):
    """A document with the words. ``rank`` is higher for a better one; ``data`` is None where the contents of the better
    ones were large."""

    document: Document
    rank: float
    data: bytes | None


class DocumentStore(Protocol):
    """Documents, the revisions of their content, and the words of their texts. A write is on disk when it returns."""

    async def add(
        self, document: Document, data: bytes, revision: DocumentRevision, event: Event, quota: int
    ) -> Announcement:
        """Stores a document with its first revision and its event. ``quota``: bytes that the project's documents may
        have. Raises SidecarError (STR_003)."""
        ...

    async def by_id(self, project: str, document_id: str) -> Document | None: ...

    async def content(self, project: str, document_id: str, revision: int | None = None) -> Content | None:
        """Returns the content of a revision, by default the current one."""
        ...

    async def named(self, project: str, ids: Sequence[str], names: Sequence[str]) -> Sequence[Document]:
        """Returns the documents with these ids, and of each name the newest; at most ``MAX_NAMED``, newest first."""
        ...

    def version(self, project: str) -> int | None:
        """Returns another number whenever documents of a project change; None if other processes may change them."""
        ...

    async def change(
        self, project: str, document_id: str, make: Callable[[Document, bytes], Change], quota: int
    ) -> Changed | None:
        """Replaces a document by what ``make`` returns for it and its content, while nobody else changes it.

        Returns None if there is no such document. ``make`` may be called twice, and may raise SidecarError; STR_003 is
        raised for what is beyond the ``quota``.
        """
        ...

    async def delete(self, project: str, document_id: str, make: Callable[[Document], Event]) -> Sequence[Deleted]:
        """Deletes a document with its children, and all that belongs to them; none if there is no such document.

        ``make`` returns the event of each, or raises SidecarError, and then nothing is deleted.
        """
        ...

    async def relate(self, relation: DocumentRelation, project: str, event: Event) -> Announcement:
        """Stores a relation of two documents of a project.

        Raises SidecarError: DOC_001 if one is not there; DOC_003 for a relation that is there, a second parent, or a
        parent that would be its own ancestor.
        """
        ...

    async def relations(self, project: str, document_id: str) -> Sequence[DocumentRelation]:
        """Returns the relations of a document in both directions, oldest first; at most ``MAX_RELATIONS``."""
        ...

    async def change_relation(
        self, project: str, relation_id: str, make: Callable[[DocumentRelation], None]
    ) -> DocumentRelation | None:
        """Replaces a relation by what ``make`` makes of it; None if there is none."""
        ...

    async def unrelate(
        self, project: str, relation_id: str, make: Callable[[DocumentRelation], Event]
    ) -> Announcement | None:
        """Deletes a relation; None if there is none."""
        ...

    async def page(
        self, project: str, *, name: str = "", tags: Sequence[str] = (), before: int | None = None, limit: int = 100
    ) -> Sequence[StoredDocument]:
        """Returns documents, newest first, whose name contains ``name`` and that have all ``tags``.

        Stops at ``PAGE_BYTES`` of them, but returns at least one if there is any.
        """
        ...

    async def search(
        self, project: str, terms: Sequence[Term], *, tags: Sequence[str] = (), limit: int = 10
    ) -> Sequence[Found]:
        """Returns documents with all terms and all tags, the best first."""
        ...

    async def revisions(self, project: str, document_id: str) -> Sequence[DocumentRevision]:
        """Returns the revisions that are kept, newest first; none if there is no such document."""
        ...

    async def stored_bytes(self, project: str) -> int:
        """Returns the size of all documents of a project, with their revisions, tags and metadata."""
        ...
