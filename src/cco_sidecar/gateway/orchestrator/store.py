"""The Context Store: documents (port 8766)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cco_sidecar.core import codec, relations
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.gateway.orchestrator.bodies import Unprocessable, answer, detail, json_object, number, problem
from cco_sidecar.gateway.orchestrator.calls import calls_of
from cco_sidecar.gateway.orchestrator.shapes import document_shape
from orchestra.v1 import document_service_pb2 as pb

_PAGE = 1000
_MAX_NUMBER = 2**32 - 1
_UNNAMED, _ANY_TYPE = "unknown", "application/octet-stream"
# A document is never a page of this address, which has a secret.
_HARMLESS = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox"}
_NOT_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f]")


def _shape(request: Request, document: pb.Document) -> dict[str, Any]:
    return document_shape(document, request.state.base)


def _refused(error: SidecarError) -> Exception:
    if error.kind is Kind.NOT_FOUND:
        return detail(404, "Document not found")
    return error


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


async def health(_: Request) -> Response:
    return answer({"status": "healthy", "service": "context-store"})


async def upload(request: Request) -> Response:
    """A file as a form, or the JSON of a document that is written later."""
    if "json" in request.headers.get("content-type", ""):
        body = await json_object(request, {"filename": str}, {"tags": list, "metadata": dict})
        return await _created(request, codec.from_dict(pb.CreateDocumentRequest, body))
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Unprocessable([problem("missing", ["body", "file"], "Field required")])
        metadata = _metadata(form.get("metadata"))
        wanted = pb.CreateDocumentRequest(
            filename=_NOT_IN_NAMES.sub("_", file.filename or _UNNAMED),
            # Programs that do not know better send this for everything.
            content_type="" if file.content_type == _ANY_TYPE else file.content_type or "",
            tags=_words(str(form.get("tags") or "")),
            metadata=metadata,
            data=await file.read(),
        )
    return await _created(request, wanted)


def _metadata(given: Any) -> dict[str, str]:
    if not given:
        return {}
    try:
        found = orjson.loads(str(given))
    except orjson.JSONDecodeError:
        raise detail(400, "Invalid JSON in metadata parameter") from None
    if not isinstance(found, dict):
        raise detail(400, "metadata: expected a JSON object")
    return {str(key): value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in found.items()}


async def _created(request: Request, wanted: Any) -> Response:
    made = await calls_of(request).call("DocumentService/CreateDocument", wanted, pb.CreateDocumentResponse)
    return answer(_shape(request, made.document), 201)


async def list_documents(request: Request) -> Response:
    query = request.query_params
    limit, offset = number(request, "limit", 100, _MAX_NUMBER) or 0, number(request, "offset", 0, _MAX_NUMBER) or 0
    found: list[pb.Document] = []
    cursor = ""
    while len(found) < offset + limit:
        wanted = pb.ListDocumentsRequest(
            name=query.get("filename", ""), tags=_words(query.get("tags")), limit=_PAGE, cursor=cursor
        )
        page = await calls_of(request).call("DocumentService/ListDocuments", wanted, pb.ListDocumentsResponse)
        found += page.documents
        cursor = page.next_cursor
        if not cursor:
            break
    listed = found[offset : offset + limit]
    if query.get("include_relations", "").lower() not in ("true", "1"):
        return answer([_shape(request, each) for each in listed])
    return answer([_shape(request, each) | {"relations": await _relations(request, each)} for each in listed])


async def get_metadata(request: Request) -> Response:
    return answer(_shape(request, await _document(request)))


async def _document(request: Request) -> pb.Document:
    wanted = pb.GetDocumentRequest(document_id=request.path_params["document_id"])
    try:
        return (await calls_of(request).call("DocumentService/GetDocument", wanted, pb.GetDocumentResponse)).document
    except SidecarError as error:
        raise _refused(error) from None


async def get_document(request: Request) -> Response:
    """The file, or with ``offset`` or ``limit`` a part of its text, in characters (206)."""
    document = await _document(request)
    wanted = pb.ReadDocumentRequest(document_id=document.document_id)
    in_part = False
    for name in ("offset", "limit"):
        value = number(request, name, None, _MAX_NUMBER)
        if value is not None:
            setattr(wanted, name, value)
            in_part = True
    try:
        found = await calls_of(request).call("DocumentService/ReadDocument", wanted, pb.ReadDocumentResponse)
    except SidecarError as error:
        raise _refused(error) from None
    data = found.data or found.text.encode()
    name = quote(document.filename)
    if not in_part:
        headers = {"content-disposition": f"attachment; filename*=utf-8''{name}"}
        return Response(data, media_type=document.content_type, headers=headers | _HARMLESS)
    headers = {
        "content-disposition": f"inline; filename*=utf-8''{name}",
        "x-total-chars": str(found.total_chars),
        "x-char-range": f"{found.start}-{found.end}",
        **_HARMLESS,
    }
    return Response(data, 206, media_type=document.content_type, headers=headers)


async def write_document(request: Request) -> Response:
    wanted = pb.WriteDocumentRequest(document_id=request.path_params["document_id"], data=await request.body())
    try:
        found = await calls_of(request).call("DocumentService/WriteDocument", wanted, pb.WriteDocumentResponse)
    except SidecarError as error:
        raise _refused(error) from None
    return answer(_shape(request, found.document))


async def edit_document(request: Request) -> Response:
    optional: dict[str, type] = {"old_string": str, "replace_all": object, "offset": int, "length": int}
    body = await json_object(request, {"new_string": str}, optional)
    names = {"old_string": "old_text", "new_string": "new_text"}
    given = {names.get(key, key): value for key, value in body.items()}
    if "offset" in given:
        given.setdefault("length", 0)
    given["document_id"] = request.path_params["document_id"]
    wanted = codec.from_dict(pb.EditDocumentRequest, given)
    try:
        found = await calls_of(request).call("DocumentService/EditDocument", wanted, pb.EditDocumentResponse)
    except SidecarError as error:
        raise _refused(error) from None
    shown = _shape(request, found.document)
    if found.HasField("replacements_made"):
        return answer(shown | {"replacements_made": found.replacements_made})
    lengths = {"old_length": given["length"], "new_length": len(body["new_string"])}
    return answer(shown | {"edit_range": {"offset": given["offset"], **lengths}})


async def delete_document(request: Request) -> Response:
    document_id = request.path_params["document_id"]
    try:
        wanted = pb.DeleteDocumentRequest(document_id=document_id)
        found = await calls_of(request).call("DocumentService/DeleteDocument", wanted, pb.DeleteDocumentResponse)
    except SidecarError as error:
        raise _refused(error) from None
    said = {"success": True, "message": f"Document {document_id} deleted successfully", "document_id": document_id}
    return answer(said | {"deleted_document_ids": list(found.deleted_document_ids)})


async def search(request: Request) -> Response:
    query = request.query_params.get("q", "")
    wanted = pb.SearchDocumentsRequest(query=query, limit=number(request, "limit", 10, 100))
    found = await calls_of(request).call("DocumentService/SearchDocuments", wanted, pb.SearchDocumentsResponse)
    results = [
        {
            "document_id": each.document.document_id,
            "filename": each.document.filename,
            "document_url": _shape(request, each.document)["url"],
            "sections": [{"score": part.score, "offset": part.offset, "limit": part.limit} for part in each.sections],
        }
        for each in found.results
    ]
    return answer({"query": query, "results": results})


async def list_definitions(_: Request) -> Response:
    return answer(relations.definitions())


async def create_relation(request: Request) -> Response:
    required = {"definition": str, "from_document_id": str, "to_document_id": str}
    body = await json_object(request, required, {"from_note": str, "to_note": str})
    kind = relations.TYPES.get(body.pop("definition"))
    if kind is None:
        raise detail(400, f"Unknown definition: expected one of {', '.join(relations.TYPES)}")
    wanted = pb.CreateDocumentRelationRequest(type=kind, **body)
    try:
        made = await calls_of(request).call(
            "DocumentService/CreateDocumentRelation", wanted, pb.CreateDocumentRelationResponse
        )
    except SidecarError as error:
        raise _refused(error) from None
    entries = {
        "from_relation": relations.of_first(made.relation),
        "to_relation": relations.of_second(made.relation),
    }
    return answer({"success": True, "message": "Relation created"} | entries, 201)


async def list_relations(request: Request) -> Response:
    document = await _document(request)
    return answer({"document_id": document.document_id, "relations": await _relations(request, document)})


async def _relations(request: Request, document: pb.Document) -> dict[str, Any]:
    wanted = pb.ListDocumentRelationsRequest(document_id=document.document_id)
    found = await calls_of(request).call(
        "DocumentService/ListDocumentRelations", wanted, pb.ListDocumentRelationsResponse
    )
    return relations.of_document(document.document_id, found.relations)


async def update_relation(request: Request) -> Response:
    """The note of the first document; ``to_note`` is that of the second."""
    body = await json_object(request, {}, {"note": str, "to_note": str})
    wanted = pb.UpdateDocumentRelationRequest(relation_id=request.path_params["relation_id"])
    if "note" in body:
        wanted.from_note = body["note"]
    if "to_note" in body:
        wanted.to_note = body["to_note"]
    try:
        found = await calls_of(request).call(
            "DocumentService/UpdateDocumentRelation", wanted, pb.UpdateDocumentRelationResponse
        )
    except SidecarError as error:
        raise _unknown_relation(error) from None
    return answer(relations.of_first(found.relation) if "note" in body else relations.of_second(found.relation))


async def delete_relation(request: Request) -> Response:
    relation_id = request.path_params["relation_id"]
    wanted = pb.DeleteDocumentRelationRequest(relation_id=relation_id)
    try:
        await calls_of(request).call(
            "DocumentService/DeleteDocumentRelation", wanted, pb.DeleteDocumentRelationResponse
        )
    except SidecarError as error:
        raise _unknown_relation(error) from None
    return answer({"success": True, "message": "Relation removed", "deleted_relation_ids": [relation_id]})


def _unknown_relation(error: SidecarError) -> Exception:
    return detail(404, "Relation not found") if error.kind is Kind.NOT_FOUND else error


ROUTES = [
    Route("/relations/definitions", list_definitions, methods=["GET"]),
    Route("/relations", create_relation, methods=["POST"]),
    Route("/relations/{relation_id}", update_relation, methods=["PATCH"]),
    Route("/relations/{relation_id}", delete_relation, methods=["DELETE"]),
    Route("/documents/{document_id}/relations", list_relations, methods=["GET"]),
    Route("/health", health, methods=["GET"]),
    Route("/documents", list_documents, methods=["GET"]),
    Route("/documents", upload, methods=["POST"]),
    Route("/documents/{document_id}", get_document, methods=["GET"]),
    Route("/documents/{document_id}", delete_document, methods=["DELETE"]),
    Route("/documents/{document_id}/metadata", get_metadata, methods=["GET"]),
    Route("/documents/{document_id}/content", write_document, methods=["PUT"]),
    Route("/documents/{document_id}/content", edit_document, methods=["PATCH"]),
    Route("/search", search, methods=["GET"]),
]
