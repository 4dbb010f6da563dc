"""What a document may be: its name, its media type, its tags, and whether its content is a text."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.core.errors import invalid_request
from orchestra.v1.document_service_pb2 import (
    CreateDocumentRequest,
    Document,
    DocumentRevision,
    WriteDocumentRequest,
)

# These are in document_service.proto too. A media type: RFC 9110, section 8.3.1.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *;[ -~]*)?")
_NAME = re.compile(r"[^/\\\u0000-\u001f\u007f]*[^./\\\u0000-\u0020\u007f][^/\\\u0000-\u001f\u007f]*")
# Texts whose type does not begin with `text/`.
_TEXTS = frozenset(
    f"application/{name}" for name in ("json", "javascript", "xml", "yaml", "toml", "x-ndjson", "x-sh", "sql")
)
# What mimetypes does not know on every system.
_ENDINGS = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".yaml": "text/yaml",
    ".yml": "text/yaml",
    ".toml": "application/toml",
    ".json": "application/json",
    ".log": "text/plain",
    ".txt": "text/plain",
}
_UNKNOWN = "application/octet-stream"


class Given(NamedTuple):
    """The content of a request. ``chars`` is None for what is no text."""

    data: bytes
    chars: int | None


def media_type(filename: str, given: str, *, is_text: bool) -> str:
    """Returns the media type of a document. Raises SidecarError (REQ_001)."""
    if given:
        if not _MEDIA_TYPE.fullmatch(given):
            raise invalid_request(
                f"content_type: {given!r} is not a media type such as text/markdown", field="content_type"
            )
        return given
    ending = filename[filename.rfind(".") :].lower() if "." in filename else ""
    guessed = _ENDINGS.get(ending) or mimetypes.guess_type(filename)[0]
    return guessed or ("text/plain" if is_text else _UNKNOWN)


def content_of(request: CreateDocumentRequest | WriteDocumentRequest, content_type: str) -> Given:
    """Returns the content of a request: a text if it was sent as one, or if its type says so and it is UTF-8."""
    if request.WhichOneof("content") != "data":
        return Given(request.text.encode(), len(request.text))
    return read(request.data, content_type)


def read(data: bytes, content_type: str) -> Given:
    name = content_type.partition(";")[0].strip().lower()
    if name.startswith("text/") or name in _TEXTS or name.endswith(("+json", "+xml", "+yaml")):
        try:
            return Given(data, len(data.decode()))
        except UnicodeDecodeError:
            pass
    return Given(data, None)


def check_name(filename: str) -> None:
    """Raises SidecarError (REQ_001) for what cannot be the name of a file."""
    if not _NAME.fullmatch(filename):
        raise invalid_request(
            f"filename: {filename!r} is not the name of a file, without a directory", field="filename"
        )


def revised(document: Document, content: Given, writer: str, at: Timestamp) -> DocumentRevision:
    """Makes a content the document's next revision."""
    document.revision += 1
    document.size_bytes = len(content.data)
    document.checksum = hashlib.sha256(content.data).hexdigest()
    document.ClearField("total_chars")
    if content.chars is not None:
        document.total_chars = content.chars
    document.updated_at.CopyFrom(at)
    return DocumentRevision(
        total_chars=content.chars,
        revision=document.revision,
        size_bytes=document.size_bytes,
        checksum=document.checksum,
        written_by=writer,
        written_at=at,
    )
