"""Tools for documents, with the names and arguments of the Agent Orchestrator Framework."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cco_sidecar.core import codec, relations
from cco_sidecar.core.calls import Calls
from cco_sidecar.core.errors import invalid_request
from cco_sidecar.mcp.texts import message, shown, words
from orchestra.v1 import document_service_pb2 as pb

Id = Annotated[str, Field(description="ID of the document, such as doc_...")]
# Models send lists where commas are expected.
_Joined = BeforeValidator(lambda given: ",".join(map(str, given)) if isinstance(given, list) else given)
Tags = Annotated[str, _Joined, Field(description="Tags, separated by commas; a document must have all of them")]
GivenTags = Annotated[str, _Joined, Field(description="Tags, separated by commas")]
Description = Annotated[str, Field(description="What it is about")]


async def doc_create(
    calls: Calls,
    name: Annotated[str, Field(description="File name, such as plan.md")],
    content: Annotated[str, Field(description="Its text; may be written later")] = "",
    tags: GivenTags = "",
    description: Description = "",
) -> str:
    """Store a new document that all agents of the project can find and read."""
    request = pb.CreateDocumentRequest(filename=name, text=content, tags=words(tags))
    if description:
        request.metadata["description"] = description
    return message((await calls.call("DocumentService/CreateDocument", request, pb.CreateDocumentResponse)).document)


async def doc_query(
    calls: Calls,
    name: Annotated[str, Field(description="A part of the file name")] = "",
    tags: Tags = "",
    limit: Annotated[int, Field(ge=1, le=1000)] = 100,
) -> str:
    """List documents by name and tags, newest first."""
    request = pb.ListDocumentsRequest(name=name, tags=words(tags), limit=limit)
    found = await calls.call("DocumentService/ListDocuments", request, pb.ListDocumentsResponse)
    return shown([codec.to_dict(each) for each in found.documents])


async def doc_search(
    calls: Calls,
    query: Annotated[str, Field(description='Words; all must be in the text. "two words" is a phrase, arch* a prefix')],
    limit: Annotated[int, Field(ge=1, le=100)] = 10,
) -> str:
    """Find documents by the words of their text, and where the words are."""
    request = pb.SearchDocumentsRequest(query=query, limit=limit)
    found = await calls.call("DocumentService/SearchDocuments", request, pb.SearchDocumentsResponse)
    return message(found)


async def doc_info(calls: Calls, document_id: Id) -> str:
    """Tell what is known about a document, without its content."""
    request = pb.GetDocumentRequest(document_id=document_id)
    return message((await calls.call("DocumentService/GetDocument", request, pb.GetDocumentResponse)).document)


async def doc_read(
    calls: Calls,
    document_id: Id,
    offset: Annotated[int | None, Field(ge=0, description="First character, from 0")] = None,
    limit: Annotated[int | None, Field(ge=0, description="Number of characters")] = None,
) -> str:
    """Read the text of a document, or a part of it."""
    request = pb.ReadDocumentRequest(document_id=document_id, offset=offset, limit=limit)
    found = await calls.call("DocumentService/ReadDocument", request, pb.ReadDocumentResponse)
    if found.WhichOneof("content") == "data":
        return shown({"content_type": found.content_type, "size_bytes": len(found.data), "text": None})
    return found.text


async def doc_write(
    calls: Calls,
    document_id: Id,
    content: Annotated[str, Field(description="The whole new text")],
    expected_revision: Annotated[int | None, Field(description="Refuse if somebody has changed it since")] = None,
) -> str:
    """Replace the content of a document."""
    request = pb.WriteDocumentRequest(document_id=document_id, text=content, expected_revision=expected_revision)
    return message((await calls.call("DocumentService/WriteDocument", request, pb.WriteDocumentResponse)).document)


async def doc_edit(
    calls: Calls,
    document_id: Id,
    new_string: Annotated[str, Field(description="The text to put there")],
    old_string: Annotated[str, Field(description="The text to replace; must be there once")] = "",
    replace_all: Annotated[bool, Field(description="Replace it everywhere")] = False,
    offset: Annotated[int | None, Field(ge=0, description="Instead of old_string: the first character")] = None,
    length: Annotated[int | None, Field(ge=0, description="With offset: how many to replace; 0 inserts")] = None,
    expected_revision: Annotated[int | None, Field(description="Refuse if somebody has changed it since")] = None,
) -> str:
    """Change a part of a document's text."""
    given: dict[str, Any] = {"document_id": document_id, "new_text": new_string}
    if old_string:
        given["old_text"] = old_string
    if replace_all:
        given["replace_all"] = True
    numbers = {"offset": offset, "length": length, "expected_revision": expected_revision}
    given |= {name: value for name, value in numbers.items() if value is not None}
    request = codec.from_dict(pb.EditDocumentRequest, given)
    return message(await calls.call("DocumentService/EditDocument", request, pb.EditDocumentResponse))


async def doc_delete(calls: Calls, document_id: Id) -> str:
    """Delete a document with its revisions, and its children with theirs."""
    request = pb.DeleteDocumentRequest(document_id=document_id)
    found = await calls.call("DocumentService/DeleteDocument", request, pb.DeleteDocumentResponse)
    gone = list(found.deleted_document_ids)
    return shown({"success": True, "document_id": document_id, "deleted_document_ids": gone})


async def doc_push(
    calls: Calls,
    file_path: Annotated[str, Field(description="Absolute path of the file")],
    name: Annotated[str, Field(description="Name of the document; that of the file when empty")] = "",
    tags: GivenTags = "",
    description: Description = "",
) -> str:
    """Store a file of this machine as a document."""
    path = _absolute(file_path, "file_path")
    try:
        data = await asyncio.to_thread(path.read_bytes)
    except OSError as problem:
        raise invalid_request(f"file_path: {path}: {problem.strerror or problem}", field="file_path") from None
    request = pb.CreateDocumentRequest(filename=name or path.name, data=data, tags=words(tags))
    if description:
        request.metadata["description"] = description
    return message((await calls.call("DocumentService/CreateDocument", request, pb.CreateDocumentResponse)).document)


async def doc_pull(
    calls: Calls,
    document_id: Id,
    output_path: Annotated[str, Field(description="Absolute path of the file to write")],
) -> str:
    """Write a document to a file of this machine."""
    path = _absolute(output_path, "output_path")
    request = pb.ReadDocumentRequest(document_id=document_id)
    found = await calls.call("DocumentService/ReadDocument", request, pb.ReadDocumentResponse)
    data = found.data or found.text.encode()
    try:
        await asyncio.to_thread(path.write_bytes, data)
    except OSError as problem:
        raise invalid_request(f"output_path: {path}: {problem.strerror or problem}", field="output_path") from None
    return shown({"success": True, "document_id": document_id, "filename": path.name, "size_bytes": len(data)})


def _absolute(text: str, field: str) -> Path:
    """Raises SidecarError (REQ_001): the directory of the program is not known to who uses it."""
    if not Path(text).is_absolute():
        raise invalid_request(f"{field}: expected an absolute path, got {text[:200]!r}", field=field)
    return Path(text)


async def doc_link(
    calls: Calls,
    from_document_id: Annotated[str, Field(description="The first document; alone, its relations are listed")],
    to_document_id: Annotated[str, Field(description="The second document")] = "",
    relation_type: Annotated[
        Literal["parent-child", "related", "predecessor-successor"] | None,
        Field(description="What the first is to the second; a child is deleted with its parent"),
    ] = None,
    from_note: Annotated[str, Field(description="What the first should know about the second")] = "",
    to_note: Annotated[str, Field(description="What the second should know about the first")] = "",
    remove_id: Annotated[str, Field(description="Instead: the relation to remove")] = "",
) -> str:
    """Relate two documents, list the relations of one, or remove a relation."""
    if remove_id:
        request = pb.DeleteDocumentRelationRequest(relation_id=remove_id)
        await calls.call("DocumentService/DeleteDocumentRelation", request, pb.DeleteDocumentRelationResponse)
        return shown({"success": True, "deleted_relation_ids": [remove_id]})
    if not to_document_id and relation_type is None:
        listing = pb.ListDocumentRelationsRequest(document_id=from_document_id)
        found = await calls.call("DocumentService/ListDocumentRelations", listing, pb.ListDocumentRelationsResponse)
        return shown(relations.of_document(from_document_id, found.relations))
    if not to_document_id or relation_type is None:
        raise invalid_request("to_document_id and relation_type are given together", field="relation_type")
    making = pb.CreateDocumentRelationRequest(
        from_document_id=from_document_id,
        to_document_id=to_document_id,
        type=relations.TYPES[relation_type],
        from_note=from_note,
        to_note=to_note,
    )
    made = await calls.call("DocumentService/CreateDocumentRelation", making, pb.CreateDocumentRelationResponse)
    return shown(relations.of_first(made.relation))


TOOLS = (doc_link, doc_create, doc_query, doc_search, doc_info, doc_read, doc_write, doc_edit, doc_delete)

# For a program that runs where the files are.
FILE_TOOLS = (doc_push, doc_pull)
