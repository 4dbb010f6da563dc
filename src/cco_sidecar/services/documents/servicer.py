"""DocumentService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from cco_sidecar.auth.scope import require_creator
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import announcements
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, invalid_request, not_found
from cco_sidecar.core.metadata import check_metadata, merge_metadata
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.paging import number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.core.tags import tags_of
from cco_sidecar.core.terms import terms_of
from cco_sidecar.services.documents import contents, search
from cco_sidecar.services.documents.contents import Given
from cco_sidecar.services.documents.edit import edited
from cco_sidecar.storage.documents import Change, Content, DocumentStore
from orchestra.v1 import document_service_pb2 as pb
from orchestra.v1.event_service_pb2 import Event

_SEARCHED = 10
# As large as a document that is sent whole.
_MAX_BYTES = 16 * 2**20


class DocumentServicer:
    """Implements orchestra.v1.DocumentService. Errors are raised as SidecarError."""

    def __init__(self, documents: DocumentStore, outbox: Outbox, quota_mb: int, clock: Clock) -> None:
        self._documents = documents
        self._outbox = outbox
        self._quota = quota_mb * 2**20
        self._clock = clock

    async def CreateDocument(
        self, request: pb.CreateDocumentRequest, principal: Principal
    ) -> pb.CreateDocumentResponse:
        contents.check_name(request.filename)
        check_metadata(request.metadata.items())
        content_type = contents.media_type(
            request.filename, request.content_type, is_text=request.WhichOneof("content") != "data"
        )
        content = contents.content_of(request, content_type)
        now = self._clock.timestamp()
        document = pb.Document(
            document_id=f"doc_{secrets.token_hex(12)}",
            project_id=request.project_id,
            filename=request.filename,
            content_type=content_type,
            tags=tags_of(request.tags),
            metadata=request.metadata,
            created_by=principal.subject,
            created_at=now,
        )
        revision = contents.revised(document, content, principal.subject, now)
        event = announcements.of_document(document, "document_created", principal)
        await self._outbox.publish(await self._documents.add(document, content.data, revision, event, self._quota))
        return pb.CreateDocumentResponse(document=document)

    async def GetDocument(self, request: pb.GetDocumentRequest, principal: Principal) -> pb.GetDocumentResponse:
        document = await self._documents.by_id(request.project_id, request.document_id)
        if document is None:
            raise _unknown(request.document_id)
        return pb.GetDocumentResponse(document=document)

    async def ListDocuments(self, request: pb.ListDocumentsRequest, principal: Principal) -> pb.ListDocumentsResponse:
        tags = tags_of(request.tags)
        page = await paged(
            lambda before, limit: self._documents.page(
                request.project_id, name=request.name, tags=tags, before=before, limit=limit
            ),
            number_of(request.cursor),
            request.limit,
        )
        return pb.ListDocumentsResponse(documents=[each.document for each in page.items], next_cursor=page.next_cursor)

    async def SearchDocuments(
        self, request: pb.SearchDocumentsRequest, principal: Principal
    ) -> pb.SearchDocumentsResponse:
        terms, tags = terms_of(request.query), tags_of(request.tags)
        found = await self._documents.search(request.project_id, terms, tags=tags, limit=request.limit or _SEARCHED)
        size = sum(len(each.data or b"") for each in found)
        results = await beside_the_loop(search.shown, found, terms, size=size)
        return pb.SearchDocumentsResponse(query=request.query, results=results)

    async def ReadDocument(self, request: pb.ReadDocumentRequest, principal: Principal) -> pb.ReadDocumentResponse:
        wanted = request.revision if request.HasField("revision") else None
        content = await self._documents.content(request.project_id, request.document_id, wanted)
        if content is None:
            raise await self._no_revision(request)
        return await beside_the_loop(_read, content, request, size=len(content.data))

    async def WriteDocument(self, request: pb.WriteDocumentRequest, principal: Principal) -> pb.WriteDocumentResponse:
        if request.WhichOneof("content") is None:
            raise invalid_request("text or data is required: the content to write", field="text")

        def make(document: pb.Document, _: bytes) -> Change:
            content = contents.content_of(request, document.content_type)
            return self._next(document, content, principal, request)

        return pb.WriteDocumentResponse(document=await self._change(request.project_id, request.document_id, make))

    async def EditDocument(self, request: pb.EditDocumentRequest, principal: Principal) -> pb.EditDocumentResponse:
        replacements: int | None = None

        def make(document: pb.Document, data: bytes) -> Change:
            nonlocal replacements
            if not document.HasField("total_chars"):
                raise invalid_request(
                    f"only a text can be edited; this document is {document.content_type}", field="document_id"
                )
            text, replacements = edited(data.decode(), request, _MAX_BYTES)
            return self._next(document, Given(text.encode(), len(text)), principal, request)

        document = await self._change(request.project_id, request.document_id, make)
        return pb.EditDocumentResponse(document=document, replacements_made=replacements)

    async def UpdateDocument(
        self, request: pb.UpdateDocumentRequest, principal: Principal
    ) -> pb.UpdateDocumentResponse:
        if request.HasField("filename"):
            contents.check_name(request.filename)
        check_metadata(request.metadata.items())
        tags = tags_of(request.tags)
        if tags and request.clear_tags:
            raise invalid_request("clear_tags: tags are given as well", field="clear_tags")

        def make(document: pb.Document, _: bytes) -> Change:
            if request.HasField("filename"):
                document.filename = request.filename
            if tags or request.clear_tags:
                document.tags[:] = tags
            merge_metadata(document.metadata, request.metadata)
            document.updated_at.CopyFrom(self._clock.timestamp())
            event = announcements.of_document(document, "document_changed", principal)
            return Change(document, None, None, event)

        return pb.UpdateDocumentResponse(document=await self._change(request.project_id, request.document_id, make))

    async def DeleteDocument(
        self, request: pb.DeleteDocumentRequest, principal: Principal
    ) -> pb.DeleteDocumentResponse:
        def make(document: pb.Document) -> Event:
            # Whoever made a document the child of this one was allowed to delete it.
            if document.document_id == request.document_id:
                require_creator(principal, document.created_by, f"document '{document.document_id}'")
            return announcements.of_document(document, "document_deleted", principal)

        deleted = await self._documents.delete(request.project_id, request.document_id, make)
        if not deleted:
            raise _unknown(request.document_id)
        for each in deleted:
            await self._outbox.publish(each.announcement)
        ids = [each.document_id for each in deleted]
        return pb.DeleteDocumentResponse(document_id=request.document_id, deleted_document_ids=ids)

    async def CreateDocumentRelation(
        self, request: pb.CreateDocumentRelationRequest, principal: Principal
    ) -> pb.CreateDocumentRelationResponse:
        if request.from_document_id == request.to_document_id:
            raise invalid_request("to_document_id: a document has no relation to itself", field="to_document_id")
        if request.type == pb.DOCUMENT_RELATION_TYPE_PARENT_CHILD:
            await self._require_may_delete(request.project_id, request.to_document_id, principal)
        now = self._clock.timestamp()
        relation = pb.DocumentRelation(
            relation_id=f"rel_{secrets.token_hex(12)}",
            type=request.type,
            from_document_id=request.from_document_id,
            to_document_id=request.to_document_id,
            from_note=request.from_note,
            to_note=request.to_note,
            created_by=principal.subject,
            created_at=now,
            updated_at=now,
        )
        event = announcements.of_relation(relation, "document_relation_created", principal)
        await self._outbox.publish(await self._documents.relate(relation, request.project_id, event))
        return pb.CreateDocumentRelationResponse(relation=relation)

    async def ListDocumentRelations(
        self, request: pb.ListDocumentRelationsRequest, principal: Principal
    ) -> pb.ListDocumentRelationsResponse:
        if await self._documents.by_id(request.project_id, request.document_id) is None:
            raise _unknown(request.document_id)
        found = await self._documents.relations(request.project_id, request.document_id)
        return pb.ListDocumentRelationsResponse(relations=found)

    async def UpdateDocumentRelation(
        self, request: pb.UpdateDocumentRelationRequest, principal: Principal
    ) -> pb.UpdateDocumentRelationResponse:
        def make(relation: pb.DocumentRelation) -> None:
            for name in ("from_note", "to_note"):
                if request.HasField(name):
                    setattr(relation, name, getattr(request, name))
            relation.updated_at.CopyFrom(self._clock.timestamp())

        relation = await self._documents.change_relation(request.project_id, request.relation_id, make)
        if relation is None:
            raise _unknown_relation(request.relation_id)
        return pb.UpdateDocumentRelationResponse(relation=relation)

    async def DeleteDocumentRelation(
        self, request: pb.DeleteDocumentRelationRequest, principal: Principal
    ) -> pb.DeleteDocumentRelationResponse:
        def make(relation: pb.DocumentRelation) -> Event:
            return announcements.of_relation(relation, "document_relation_deleted", principal)

        announcement = await self._documents.unrelate(request.project_id, request.relation_id, make)
        if announcement is None:
            raise _unknown_relation(request.relation_id)
        await self._outbox.publish(announcement)
        return pb.DeleteDocumentRelationResponse(relation_id=request.relation_id)

    async def ListDocumentRevisions(
        self, request: pb.ListDocumentRevisionsRequest, principal: Principal
    ) -> pb.ListDocumentRevisionsResponse:
        revisions = await self._documents.revisions(request.project_id, request.document_id)
        if not revisions:
            raise _unknown(request.document_id)
        return pb.ListDocumentRevisionsResponse(revisions=revisions)

    async def _change(
        self, project: str, document_id: str, make: Callable[[pb.Document, bytes], Change]
    ) -> pb.Document:
        changed = await self._documents.change(project, document_id, make, self._quota)
        if changed is None:
            raise _unknown(document_id)
        await self._outbox.publish(changed.announcement)
        return changed.document

    def _next(
        self,
        document: pb.Document,
        content: Given,
        principal: Principal,
        request: pb.WriteDocumentRequest | pb.EditDocumentRequest,
    ) -> Change:
        """Returns the document with its next revision. Raises SidecarError (DOC_002)."""
        if request.HasField("expected_revision") and request.expected_revision != document.revision:
            raise conflict(
                "DOC_002",
                f"document '{document.document_id}' has revision {document.revision}, not {request.expected_revision}: "
                "read it again, and repeat the change",
                revision=document.revision,
            )
        revision = contents.revised(document, content, principal.subject, self._clock.timestamp())
        event = announcements.of_document(document, "document_changed", principal)
        return Change(document, content.data, revision, event)

    async def _require_may_delete(self, project: str, document_id: str, principal: Principal) -> None:
        """A child is deleted with its parent, by whoever deletes that. Raises SidecarError: AUTH_003, DOC_001."""
        child = await self._documents.by_id(project, document_id)
        if child is None:
            raise _unknown(document_id)
        require_creator(principal, child.created_by, f"document '{document_id}'")

    async def _no_revision(self, request: pb.ReadDocumentRequest) -> SidecarError:
        document = await self._documents.by_id(request.project_id, request.document_id)
        if document is None:
            return _unknown(request.document_id)
        return not_found(
            "DOC_001",
            f"document '{request.document_id}' has no revision {request.revision} any more; the current one is "
            f"{document.revision}",
        )


def _read(content: Content, request: pb.ReadDocumentRequest) -> pb.ReadDocumentResponse:
    """Returns the content, or the part that was asked for. Raises SidecarError (REQ_001)."""
    document, in_part = content.document, request.HasField("offset") or request.HasField("limit")
    found = pb.ReadDocumentResponse(
        document_id=document.document_id, content_type=document.content_type, revision=content.revision.revision
    )
    if not content.revision.HasField("total_chars"):
        if in_part:
            raise invalid_request(
                f"offset: only a text has parts; this document is {document.content_type}", field="offset"
            )
        found.data = content.data
        return found
    text = content.data.decode()
    found.total_chars = len(text)
    if in_part:
        found.start = min(request.offset, len(text))
        found.end = min(found.start + request.limit, len(text)) if request.HasField("limit") else len(text)
        text = text[found.start : found.end]
    found.text = text
    return found


def _unknown(document_id: str) -> SidecarError:
    hint = "" if document_id.startswith("doc_") else "; it is found by its ID: 'cco documents query --name' tells it"
    return not_found("DOC_001", f"document '{document_id}' not found{hint}")


def _unknown_relation(relation_id: str) -> SidecarError:
    return not_found("DOC_001", f"relation '{relation_id}' not found")
