"""The asynchronous client: documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from cco_sidecar.client import requests
from cco_sidecar.client.aio_calls import AsyncCalls
from orchestra.v1 import document_service_pb2 as document_pb
from orchestra.v1 import document_service_pb2_grpc

C = TypeVar("C", document_pb.CreateDocumentRequest, document_pb.WriteDocumentRequest)


class Documents:
    """Documents that agents share."""

    def __init__(self, client: AsyncCalls) -> None:
        self._client = client
        self._stub = document_service_pb2_grpc.DocumentServiceStub(client.channel)

    async def create(
        self,
        filename: str,
        content: str | bytes = "",
        *,
        content_type: str = "",
        tags: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        project_id: str = "",
    ) -> document_pb.Document:
        """Stores a document. A ``str`` is stored as a text, whatever its media type."""
        request = document_pb.CreateDocumentRequest(
            filename=filename,
            content_type=content_type,
            tags=requests.names(tags),
            metadata=metadata,
            project_id=project_id,
        )
        return (await self._client.call(self._stub.CreateDocument, _with_content(request, content))).document

    async def get(self, document_id: str, *, project_id: str = "") -> document_pb.Document:
        """Returns what is known about a document. Raises NotFoundError."""
        request = document_pb.GetDocumentRequest(document_id=document_id, project_id=project_id)
        return (await self._client.call(self._stub.GetDocument, request)).document

    async def list(
        self,
        *,
        name: str = "",
        tags: Sequence[str] = (),
        limit: int | None = None,
        cursor: str = "",
        project_id: str = "",
    ) -> document_pb.ListDocumentsResponse:
        """Returns documents whose name contains ``name`` and that have all ``tags``, the newest first."""
        request = document_pb.ListDocumentsRequest(
            name=name, tags=requests.names(tags), limit=limit, cursor=cursor, project_id=project_id
        )
        return await self._client.call(self._stub.ListDocuments, request)

    async def search(
        self, query: str, *, tags: Sequence[str] = (), limit: int | None = None, project_id: str = ""
    ) -> Sequence[document_pb.DocumentFound]:
        """Returns documents with all words of ``query``, the best first. ``"two words"`` is a phrase, ``arch*`` a
        prefix."""
        request = document_pb.SearchDocumentsRequest(
            query=query, tags=requests.names(tags), limit=limit, project_id=project_id
        )
        return (await self._client.call(self._stub.SearchDocuments, request)).results

    async def read(
        self,
        document_id: str,
        *,
        offset: int | None = None,
        limit: int | None = None,
        revision: int | None = None,
        project_id: str = "",
    ) -> document_pb.ReadDocumentResponse:
        """Returns the content, or ``limit`` characters of a text from ``offset``. Raises NotFoundError."""
        request = document_pb.ReadDocumentRequest(
            document_id=document_id, offset=offset, limit=limit, revision=revision, project_id=project_id
        )
        return await self._client.call(self._stub.ReadDocument, request)

    async def write(
        self, document_id: str, content: str | bytes, *, expected_revision: int | None = None, project_id: str = ""
    ) -> document_pb.Document:
        """Replaces the content. Raises ConflictError (DOC_002) if ``expected_revision`` is not the current one."""
        request = document_pb.WriteDocumentRequest(
            document_id=document_id, expected_revision=expected_revision, project_id=project_id
        )
        return (await self._client.call(self._stub.WriteDocument, _with_content(request, content))).document

    async def edit(
        self,
        document_id: str,
        new_text: str,
        *,
        old_text: str | None = None,
        replace_all: bool = False,
        offset: int | None = None,
        length: int | None = None,
        expected_revision: int | None = None,
        project_id: str = "",
    ) -> document_pb.EditDocumentResponse:
        """Replaces ``old_text``, or ``length`` characters at ``offset``, by ``new_text``. Raises InvalidRequestError if
        ``old_text`` is not there, or more than once without ``replace_all``."""
        request = document_pb.EditDocumentRequest(
            document_id=document_id,
            new_text=new_text,
            old_text=old_text,
            replace_all=replace_all,
            offset=offset,
            length=length,
            expected_revision=expected_revision,
            project_id=project_id,
        )
        return await self._client.call(self._stub.EditDocument, request)

    async def update(
        self,
        document_id: str,
        *,
        filename: str | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        project_id: str = "",
    ) -> document_pb.Document:
        """Changes the name, the tags or some metadata; an empty value removes its key."""
        request = document_pb.UpdateDocumentRequest(
            document_id=document_id,
            filename=filename,
            tags=requests.names(tags or ()),
            clear_tags=tags is not None and not tags,
            metadata=metadata,
            project_id=project_id,
        )
        return (await self._client.call(self._stub.UpdateDocument, request)).document

    async def delete(self, document_id: str, *, project_id: str = "") -> Sequence[str]:
        """Deletes a document with its revisions, and its children; returns the IDs of all. Raises NotFoundError."""
        request = document_pb.DeleteDocumentRequest(document_id=document_id, project_id=project_id)
        return (await self._client.call(self._stub.DeleteDocument, request)).deleted_document_ids

    async def relate(
        self,
        from_document_id: str,
        to_document_id: str,
        type: str,
        *,
        from_note: str = "",
        to_note: str = "",
        project_id: str = "",
    ) -> document_pb.DocumentRelation:
        """Relates two documents. ``type`` says what the first is to the second: ``parent_child``, ``related`` or
        ``predecessor_successor``. Raises ConflictError for a relation that is there, and for a second parent."""
        given = {"from_document_id": from_document_id, "to_document_id": to_document_id, "type": type}
        request = requests.read(document_pb.CreateDocumentRelationRequest, given)
        request.from_note, request.to_note, request.project_id = from_note, to_note, project_id
        return (await self._client.call(self._stub.CreateDocumentRelation, request)).relation

    async def relations(self, document_id: str, *, project_id: str = "") -> Sequence[document_pb.DocumentRelation]:
        """Returns the relations of a document in both directions, the oldest first. Raises NotFoundError."""
        request = document_pb.ListDocumentRelationsRequest(document_id=document_id, project_id=project_id)
        return (await self._client.call(self._stub.ListDocumentRelations, request)).relations

    async def update_relation(
        self, relation_id: str, *, from_note: str | None = None, to_note: str | None = None, project_id: str = ""
    ) -> document_pb.DocumentRelation:
        """Changes the notes of a relation. Raises NotFoundError."""
        request = document_pb.UpdateDocumentRelationRequest(
            relation_id=relation_id, from_note=from_note, to_note=to_note, project_id=project_id
        )
        return (await self._client.call(self._stub.UpdateDocumentRelation, request)).relation

    async def unrelate(self, relation_id: str, *, project_id: str = "") -> None:
        """Deletes a relation; the documents stay. Raises NotFoundError."""
        request = document_pb.DeleteDocumentRelationRequest(relation_id=relation_id, project_id=project_id)
        await self._client.call(self._stub.DeleteDocumentRelation, request)

    async def revisions(self, document_id: str, *, project_id: str = "") -> Sequence[document_pb.DocumentRevision]:
        """Returns the revisions that are kept, the newest first. Raises NotFoundError."""
        request = document_pb.ListDocumentRevisionsRequest(document_id=document_id, project_id=project_id)
        return (await self._client.call(self._stub.ListDocumentRevisions, request)).revisions


def _with_content(request: C, content: str | bytes) -> C:
    if isinstance(content, str):
        request.text = content
    else:
        request.data = content
    return request
