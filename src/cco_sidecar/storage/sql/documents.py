"""The tables of documents: what is known about them, their tags, their contents, and the index of their words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from cco_sidecar.core.bounds import quota_filled
from cco_sidecar.core.errors import not_found
from cco_sidecar.core.terms import Term
from cco_sidecar.storage.base import PAGE_BYTES
from cco_sidecar.storage.documents import (
    MAX_NAMED,
    MAX_REVISIONS,
    MAX_SEARCHED_BYTES,
    Change,
    Changed,
    Content,
    Deleted,
    Found,
    StoredDocument,
)
from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.sql import relations
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.pages import up_to
from cco_sidecar.storage.sql.schema import document_contents, document_tags, documents
from cco_sidecar.storage.sql.words import DOCUMENT_WORDS, words_in
from orchestra.v1.document_service_pb2 import Document, DocumentRelation, DocumentRevision
from orchestra.v1.event_service_pb2 import Event

T = TypeVar("T")


class SqlDocuments:
    """Implements DocumentStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words = words_in(database, DOCUMENT_WORDS)
        self._changes: Counter[str] = Counter()

    async def add(
        self, document: Document, data: bytes, revision: DocumentRevision, event: Event, quota: int
    ) -> Announcement:
        def work(connection: sa.Connection) -> Announcement:
            _require_space(connection, document.project_id, len(data) + document.ByteSize(), quota)
            insert = sa.insert(documents).values(_columns(document) | {"document_id": document.document_id})
            inserted = connection.execute(insert).inserted_primary_key
            assert inserted is not None
            _add_tags(connection, document)
            _add_content(connection, document, revision, data)
            if document.HasField("total_chars"):
                self._words.add(connection, int(inserted[0]), data.decode())
            return enqueue(connection, document.project_id, event)

        return await self._write(document.project_id, work)

    async def _write(self, project: str, work: Callable[[sa.Connection], T]) -> T:
        try:
            return await self._database.write(work)
        finally:
            self._changes[project] += 1

    async def by_id(self, project: str, document_id: str) -> Document | None:
        found = await self._database.read(lambda c: _stored(c, project, document_id))
        return found.document if found is not None else None

    async def content(self, project: str, document_id: str, revision: int | None = None) -> Content | None:
        def work(connection: sa.Connection) -> Content | None:
            found = _stored(connection, project, document_id)
            if found is None:
                return None
            row = _content(connection, document_id, revision or found.document.revision)
            return Content(found.document, DocumentRevision.FromString(row.body), row.content) if row else None

        return await self._database.read(work)

    async def named(self, project: str, ids: Sequence[str], names: Sequence[str]) -> Sequence[Document]:
        newest = sa.select(sa.func.max(documents.c.number)).where(documents.c.project_id == project)
        newest = newest.where(documents.c.filename.in_(names)).group_by(documents.c.filename)
        query = whole(documents).where(
            documents.c.project_id == project,
            sa.or_(documents.c.document_id.in_(ids), documents.c.number.in_(newest)),
        )
        query = query.order_by(documents.c.number.desc()).limit(MAX_NAMED)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [Document.FromString(row.body) for row in rows]

    def version(self, project: str) -> int | None:
        return None if self._database.shared else self._changes[project]

    async def change(
        self, project: str, document_id: str, make: Callable[[Document, bytes], Change], quota: int
    ) -> Changed | None:
        def work(connection: sa.Connection) -> Changed | None:
            found = _stored(connection, project, document_id, lock=self._database.shared)
            if found is None:
                return None
            before, was_text = _content(connection, document_id, found.document.revision).content, _is_text(found)
            known = found.document.ByteSize()
            change = make(found.document, before)
            more = len(change.data or b"") + max(0, change.document.ByteSize() - known)
            if more:
                _require_space(connection, project, more, quota)
            update = sa.update(documents).where(documents.c.number == found.number)
            connection.execute(update.values(_columns(change.document)))
            connection.execute(sa.delete(document_tags).where(document_tags.c.document_id == document_id))
            _add_tags(connection, change.document)
            if change.data is not None and change.revision is not None:
                _add_content(connection, change.document, change.revision, change.data)
                oldest = change.document.revision - MAX_REVISIONS
                old = sa.and_(document_contents.c.document_id == document_id, document_contents.c.revision <= oldest)
                connection.execute(sa.delete(document_contents).where(old))
                if was_text:
                    self._words.remove(connection, found.number, before.decode())
                if change.document.HasField("total_chars"):
                    self._words.add(connection, found.number, change.data.decode())
            return Changed(change.document, enqueue(connection, project, change.event))

        return await self._write(project, work)

    async def delete(self, project: str, document_id: str, make: Callable[[Document], Event]) -> Sequence[Deleted]:
        def work(connection: sa.Connection) -> list[Deleted]:
            deleted = []
            self._database.lock(connection, f"documents {project}")
            for each in relations.with_children(connection, document_id):
                found = _stored(connection, project, each, lock=self._database.shared)
                if found is not None:
                    event = make(found.document)
                    self._remove(connection, found)
                    deleted.append(Deleted(each, enqueue(connection, project, event)))
            return deleted

        return await self._write(project, work)

    def _remove(self, connection: sa.Connection, found: StoredDocument) -> None:
        document_id = found.document.document_id
        if _is_text(found):
            content = _content(connection, document_id, found.document.revision).content
            self._words.remove(connection, found.number, content.decode())
        relations.remove(connection, document_id)
        for table in (document_tags, document_contents, documents):
            connection.execute(sa.delete(table).where(table.c.document_id == document_id))

    async def relate(self, relation: DocumentRelation, project: str, event: Event) -> Announcement:
        def work(connection: sa.Connection) -> Announcement:
            # The family of a document is read before it is changed.
            self._database.lock(connection, f"documents {project}")
            for document_id in sorted((relation.from_document_id, relation.to_document_id)):
                if _stored(connection, project, document_id, lock=self._database.shared) is None:
                    raise not_found("DOC_001", f"document '{document_id}' not found")
            relations.add(connection, relation, project)
            return enqueue(connection, project, event)

        return await self._database.write(work)

    async def relations(self, project: str, document_id: str) -> Sequence[DocumentRelation]:
        return await self._database.read(lambda c: relations.of_document(c, project, document_id))

    async def change_relation(
        self, project: str, relation_id: str, make: Callable[[DocumentRelation], None]
    ) -> DocumentRelation | None:
        def work(connection: sa.Connection) -> DocumentRelation | None:
            self._database.lock(connection, f"documents {project}")
            return relations.change(connection, project, relation_id, make)

        return await self._database.write(work)

    async def unrelate(
        self, project: str, relation_id: str, make: Callable[[DocumentRelation], Event]
    ) -> Announcement | None:
        def work(connection: sa.Connection) -> Announcement | None:
            self._database.lock(connection, f"documents {project}")
            relation = relations.take(connection, project, relation_id)
            return enqueue(connection, project, make(relation)) if relation is not None else None

        return await self._database.write(work)

    async def page(
        self, project: str, *, name: str = "", tags: Sequence[str] = (), before: int | None = None, limit: int = 100
    ) -> Sequence[StoredDocument]:
        # Select numbers and sizes first: what is known about a document may be long.
        query = sa.select(documents.c.number, sa.func.length(documents.c.body))
        query = query.where(documents.c.project_id == project, *_with_tags(tags))
        if name:
            query = query.where(documents.c.filename.icontains(name, autoescape=True))
        if before is not None:
            query = query.where(documents.c.number < before)
        query = query.order_by(documents.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> list[StoredDocument]:
            numbers = up_to(connection.execute(query), PAGE_BYTES)
            rows = connection.execute(whole(documents).where(documents.c.number.in_(numbers))).all()
            found = sorted(rows, key=lambda row: -int(row.number))
            return [StoredDocument(row.number, Document.FromString(row.body)) for row in found]

        return await self._database.read(work)

    async def search(
        self, project: str, terms: Sequence[Term], *, tags: Sequence[str] = (), limit: int = 10
    ) -> Sequence[Found]:
        ranked = self._words.ranks(terms).subquery("ranked")
        query = sa.select(documents.c.number, ranked.c.rank).join(ranked, ranked.c.number == documents.c.number)
        query = query.where(documents.c.project_id == project, *_with_tags(tags))
        query = query.order_by(ranked.c.rank.desc(), documents.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> list[Found]:
            found: list[Found] = []
            left = MAX_SEARCHED_BYTES
            for number, rank in connection.execute(query).all():
                row = connection.execute(whole(documents).where(documents.c.number == number)).one_or_none()
                if row is None:
                    # It was deleted meanwhile.
                    continue
                document = Document.FromString(row.body)
                left -= document.size_bytes
                content = _content(connection, document.document_id, document.revision) if left >= 0 else None
                found.append(Found(document, rank, content.content if content is not None else None))
            return found

        return await self._database.search(work)

    async def revisions(self, project: str, document_id: str) -> Sequence[DocumentRevision]:
        # Not the contents, which would be read to compare their checksums.
        query = (
            sa.select(document_contents.c.body)
            .join(documents, documents.c.document_id == document_contents.c.document_id)
            .where(documents.c.project_id == project, documents.c.document_id == document_id)
            .order_by(document_contents.c.revision.desc())
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [DocumentRevision.FromString(row.body) for row in rows]

    async def stored_bytes(self, project: str) -> int:
        return await self._database.read(lambda c: _stored_bytes(c, project))


def _stored_bytes(connection: sa.Connection, project: str) -> int:
    of_contents = sa.func.sum(document_contents.c.size)
    of_records = sa.func.sum(sa.func.length(documents.c.body))
    return sum(
        int(connection.execute(sa.select(sa.func.coalesce(size, 0)).where(table.c.project_id == project)).scalar_one())
        for size, table in ((of_contents, document_contents), (of_records, documents))
    )


def _require_space(connection: sa.Connection, project: str, size: int, quota: int) -> None:
    """Raises SidecarError (STR_003)."""
    stored = _stored_bytes(connection, project)
    if stored + size > quota:
        raise quota_filled("documents", project, stored, quota, "documents.quota_mb")


def _columns(document: Document) -> dict[str, Any]:
    return {
        "project_id": document.project_id,
        "filename": document.filename,
        "body": document.SerializeToString(),
    }


def _is_text(stored: StoredDocument) -> bool:
    return stored.document.HasField("total_chars")


def _stored(connection: sa.Connection, project: str, document_id: str, *, lock: bool = False) -> StoredDocument | None:
    query = whole(documents).where(documents.c.project_id == project, documents.c.document_id == document_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return StoredDocument(row.number, Document.FromString(row.body)) if row is not None else None


def _content(connection: sa.Connection, document_id: str, revision: int) -> Any:
    """Returns a row of contents; None if there is none."""
    here = (document_contents.c.document_id == document_id, document_contents.c.revision == revision)
    return connection.execute(whole(document_contents).where(*here)).one_or_none()


def _add_tags(connection: sa.Connection, document: Document) -> None:
    rows = [{"document_id": document.document_id, "tag": tag} for tag in document.tags]
    if rows:
        connection.execute(sa.insert(document_tags), rows)


def _add_content(connection: sa.Connection, document: Document, revision: DocumentRevision, data: bytes) -> None:
    row = {
        "document_id": document.document_id,
        "revision": revision.revision,
        "project_id": document.project_id,
        "size": len(data),
        "body": revision.SerializeToString(),
        "content": data,
    }
    connection.execute(sa.insert(document_contents).values(row))


def _with_tags(tags: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    """Returns the conditions for having all tags."""
    return [
        documents.c.document_id.in_(sa.select(document_tags.c.document_id).where(document_tags.c.tag == tag))
        for tag in tags
    ]
