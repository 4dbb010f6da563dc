"""Changes a part of a text."""

from __future__ import annotations

from typing import NamedTuple

from cco_sidecar.core.errors import invalid_request
from orchestra.v1.document_service_pb2 import EditDocumentRequest


class Edited(NamedTuple):
    """``replacements`` is None for a change at an offset."""

    text: str
    replacements: int | None


def edited(text: str, request: EditDocumentRequest) -> Edited:
    """Raises SidecarError (REQ_001) if the request does not say exactly what changes."""
    by_place = request.HasField("offset")
    if by_place == request.HasField("old_text"):
        found = "both are" if by_place else "none is"
        raise invalid_request(f"either old_text or offset says what is replaced; {found} given", field="old_text")
    if not by_place:
        return _replaced(text, request)
    if request.replace_all:
        raise invalid_request("replace_all: it belongs to old_text", field="replace_all")
    start, end = request.offset, request.offset + request.length
    if end > len(text):
        raise invalid_request(
            f"offset: the text has {len(text)} characters; {start} to {end} are not all in it", field="offset"
        )
    return Edited(text[:start] + request.new_text + text[end:], None)


def _replaced(text: str, request: EditDocumentRequest) -> Edited:
    if request.HasField("length"):
        raise invalid_request("length: it belongs to offset", field="length")
    if not request.old_text:
        raise invalid_request("old_text: it is empty; use offset to insert", field="old_text")
    count = text.count(request.old_text)
    if not count:
        raise invalid_request("old_text: it is not in the document", field="old_text")
    if count > 1 and not request.replace_all:
        raise invalid_request(
            f"old_text: it is {count} times in the document; send more of the text around it, or replace_all",
            field="old_text",
        )
    return Edited(text.replace(request.old_text, request.new_text), count)
