"""Changes a part of a text."""

from __future__ import annotations

from typing import NamedTuple

from cco_sidecar.core.bounds import too_large
from cco_sidecar.core.errors import invalid_request
from orchestra.v1.document_service_pb2 import EditDocumentRequest


class Edited(NamedTuple):
    """``replacements`` is None for a change at an offset."""

    text: str
    replacements: int | None


def edited(text: str, request: EditDocumentRequest, max_bytes: int) -> Edited:
    """Raises SidecarError: REQ_001 if the request does not say exactly what changes, REQ_004 if the text would have
    more than ``max_bytes`` as UTF-8."""
    by_place = request.HasField("offset")
    if by_place == request.HasField("old_text"):
        found = "both" if by_place else "neither"
        raise invalid_request(f"give either old_text or offset, to say what is replaced; got {found}", field="old_text")
    if not by_place:
        return _replaced(text, request, max_bytes)
    if request.replace_all:
        raise invalid_request("replace_all: it belongs to old_text", field="replace_all")
    start, end = request.offset, request.offset + request.length
    if end > len(text):
        raise invalid_request(
            f"offset: the text has {len(text)} characters; {start} to {end} are not all in it", field="offset"
        )
    _check_size(text, text[start:end], request.new_text, 1, max_bytes)
    return Edited(text[:start] + request.new_text + text[end:], None)


def _check_size(text: str, old: str, new: str, count: int, max_bytes: int) -> None:
    """Raises SidecarError (REQ_004), before the text is built: a small request can ask for a huge one."""
    size = len(text.encode()) + count * (len(new.encode()) - len(old.encode()))
    if size > max_bytes:
        raise too_large("the text", size, max_bytes)


def _replaced(text: str, request: EditDocumentRequest, max_bytes: int) -> Edited:
    if request.HasField("length"):
        raise invalid_request("length: it belongs to offset", field="length")
    if not request.old_text:
        raise invalid_request("old_text: it is empty; use offset to insert", field="old_text")
    count = text.count(request.old_text)
    if not count:
        hint = ""
        if "\n" in request.old_text and request.old_text.replace("\r\n", "\n") in text.replace("\r\n", "\n"):
            ends, sent = ("CR LF", "LF") if "\r\n" not in request.old_text else ("LF", "CR LF")
            hint = f": its lines end with {ends}, those of old_text with {sent}"
        raise invalid_request(f"old_text: it is not in the document{hint}", field="old_text")
    if count > 1 and not request.replace_all:
        raise invalid_request(
            f"old_text: it occurs {count} times in the document; send more of the text around it, or replace_all",
            field="old_text",
        )
    _check_size(text, request.old_text, request.new_text, count, max_bytes)
    return Edited(text.replace(request.old_text, request.new_text), count)
