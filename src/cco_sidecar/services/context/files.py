"""Returns files, or lines of a file, of a snapshot, under the rules of contexts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cco_sidecar.core.errors import invalid_request, not_found
from cco_sidecar.core.languages import language_of
from cco_sidecar.core.suggestions import did_you_mean
from cco_sidecar.repository.file_cache import FileCache, Text
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context import sections
from cco_sidecar.services.context.documents import DOCUMENT_PREFIX
from orchestra.v1.context_service_pb2 import FileContent

MAX_BYTES = 10 * 2**20
# Names that a mistyped one is compared with.
_MOST_COMPARED = 2_000
_LINES = re.compile(r"([1-9][0-9]{0,8})(-([1-9][0-9]{0,8})?)?")


def parse_lines(lines: str) -> tuple[int, int | None] | None:
    """Returns the first and the last line, from 1; None for all. Raises SidecarError (REQ_001)."""
    if not lines:
        return None
    match = _LINES.fullmatch(lines)
    if match is None:
        raise invalid_request(f"invalid lines '{lines[:40]}': expected a range from 1 such as 12-40", field="lines")
    first = int(match[1])
    last = None if match[2] == "-" else int(match[3] or first)
    if last is not None and last < first:
        raise invalid_request(f"invalid lines '{lines[:40]}': the last line comes before the first", field="lines")
    return first, last


def read_files(
    snapshot: Snapshot, texts: FileCache, paths: Sequence[str], lines: tuple[int, int | None] | None
) -> list[FileContent]:
    """Returns the files. Raises SidecarError: CTX_003 for a path that no context has, REQ_001 for too much text."""
    found = []
    space = MAX_BYTES
    for path in dict.fromkeys(each.removeprefix("./") for each in paths):
        text = _text(snapshot, texts, path)
        file = _content(path, text, lines)
        space -= len(file.content.encode())
        if space < 0:
            raise invalid_request(f"more than {MAX_BYTES} bytes; request fewer files, or lines of one", field="path")
        found.append(file)
    return found


def _text(snapshot: Snapshot, texts: FileCache, path: str) -> Text:
    info = snapshot.files.get(path)
    if info is None:
        reason = next((f": {barred.reason}" for barred in snapshot.barred if barred.path == path), "")
        raise not_found("CTX_003", f"'{path[:200]}' is not available{reason or _hint(path, snapshot)}")
    if info.size > MAX_BYTES:
        raise not_found("CTX_003", f"'{path[:200]}' is not available: it is larger than {MAX_BYTES} bytes")
    text = texts.read(snapshot.root, path, info)
    if text.problem:
        raise not_found("CTX_003", f"'{path[:200]}' is not available: {text.problem}")
    return text


def _hint(path: str, snapshot: Snapshot) -> str:
    """Returns the end of a message that suggests a file."""
    name = path.rpartition("/")[2].lower()
    if path.rstrip("/") in snapshot.directories:
        return ": it is a directory"
    if path.startswith(DOCUMENT_PREFIX):
        return ": it is a document, so read it with ReadDocument (GET /api/documents/<document_id>/content)"
    # To compare all paths of a large project would take seconds.
    near = [each for each in snapshot.files if each.rpartition("/")[2].lower()[:2] == name[:2]][:_MOST_COMPARED]
    return did_you_mean(path, near)


def _content(path: str, text: Text, lines: tuple[int, int | None] | None) -> FileContent:
    every = text.content.split("\n")
    count = len(every) - (not every[-1])
    first, last = lines or (1, None)
    if first > max(1, count):
        raise invalid_request(f"'{path[:200]}' has {count} lines, so it has no line {first}", field="lines")
    end = min(count, last or count)
    shown = every[first - 1 : end]
    content = "\n".join(shown) + ("\n" if shown and (end < count or text.content.endswith("\n")) else "")
    return FileContent(
        path=sections.utf8(path),
        content=content,
        first_line=first if shown else 0,
        last_line=end if shown else 0,
        line_count=count,
        language=language_of(path),
        last_modified=text.stat.modified,
        checksum=text.checksum,
        masked_secrets=sections.masked_secrets(each for each in text.masked if first <= each.line <= end),
    )
