"""The documents that a task names: they are chosen from as if they were files of the project."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from cco_sidecar.core.clock import micros_of
from cco_sidecar.core.lru import ByteLru
from cco_sidecar.core.reasons import Reason, Signal
from cco_sidecar.ranking.chunks import Chunked
from cco_sidecar.ranking.selection import Choice
from cco_sidecar.repository import masking
from cco_sidecar.repository.file_cache import Raw, Text, masked
from cco_sidecar.repository.snapshot import FileStat
from cco_sidecar.services.context.candidates import Candidates
from cco_sidecar.storage.documents import DocumentStore
from orchestra.v1.document_service_pb2 import Document

# Only a file in a directory of such a name could have the same path.
DOCUMENT_PREFIX = "document:"
_ID = re.compile(r"doc_[0-9a-f]{24}")
# Quoted names may have blanks, others need a suffix.
_QUOTED = re.compile(r"[`\"']([^`\"'\n]{1,255})[`\"']")
_BREAKS = re.compile(r"[\s`\"'<>|,;:()\[\]{}!?]+")
# Of a longer task, the beginning counts.
_TASK_CHARACTERS = 20_000
_MAX_NAMES = 200
# Larger documents are not read into a context, and no more than this of all.
_MAX_BYTES, _MAX_BYTES_OF_ALL = 2**20, 4 * 2**20
_REMEMBERED_BYTES = 2**20


class NamedDocument(NamedTuple):
    """A document of a context. ``data`` is None for one that is too large."""

    path: str
    stat: FileStat
    is_text: bool
    data: bytes | None


class NamedDocuments:
    """Finds the documents that tasks name."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self._known: ByteLru[tuple[str, str], tuple[int, Sequence[Document]]] = ByteLru(_REMEMBERED_BYTES)

    async def find(self, project: str, task: str) -> Sequence[Document]:
        """Returns the documents that a task names by ID or name. Raises SidecarError."""
        ids, names = _named_in(task)
        if not ids and not names:
            return ()
        version = self._store.version(project)
        known = self._known.get((project, task))
        if known is not None and known[0] == version:
            return known[1]
        found = await self._store.named(project, ids, names)
        if version is not None:
            self._known.put((project, task), (version, found), len(task) + sum(each.ByteSize() for each in found))
        return found

    async def read(self, project: str, documents: Sequence[Document]) -> Sequence[NamedDocument]:
        """Returns the documents with their texts. Raises SidecarError."""
        space = _MAX_BYTES_OF_ALL
        found = []
        for each in documents:
            data: bytes | None = None
            if each.size_bytes <= min(_MAX_BYTES, space):
                content = await self._store.content(project, each.document_id, each.revision)
                if content is None:
                    # It was deleted or changed in the meantime.
                    continue
                data = content.data
                space -= len(data)
            modified = micros_of(each.updated_at) * 1000
            stat = FileStat(each.size_bytes, modified, modified, each.revision, 0)
            path = f"{DOCUMENT_PREFIX}{each.document_id}/{each.filename}"
            found.append(NamedDocument(path, stat, each.HasField("total_chars"), data))
        return found


def _named_in(task: str) -> tuple[Sequence[str], Sequence[str]]:
    """Returns the ids and the names of documents that a task may name."""
    task = task[:_TASK_CHARACTERS]
    ids = dict.fromkeys(_ID.findall(task))
    words = (word.strip(".") for word in _BREAKS.split(task))
    names = dict.fromkeys([*(name.strip() for name in _QUOTED.findall(task)), *filter(_is_name, words)])
    return list(ids)[:_MAX_NAMES], list(names)[:_MAX_NAMES]


def _is_name(word: str) -> bool:
    """Whether a word may name a document; a path names a file."""
    stem, dot, suffix = word.rpartition(".")
    return bool(stem and dot) and suffix.isalnum() and len(suffix) <= 10 and len(word) <= 255 and not {*"/\\"} & {*word}


class Texts(Protocol):
    """Where the texts of what is chosen come from."""

    def read(self, root: Path, path: str, info: FileStat) -> Text: ...


# The texts of documents by path and revision: masking takes time.
KnownTexts = ByteLru[tuple[str, FileStat], Text]


class WithDocuments:
    """The files of a project, and documents."""

    def __init__(self, documents: Sequence[NamedDocument], files: Texts, known: KnownTexts | None = None) -> None:
        self._files = files
        self._raw = {each.path: _raw(each) for each in documents}
        self._known: KnownTexts = known if known is not None else ByteLru(_REMEMBERED_BYTES)
        self.stats: Mapping[str, FileStat] = {each.path: each.stat for each in documents}

    @property
    def choices(self) -> list[Choice]:
        """The documents, before all files of the same rank."""
        return [Choice(0, path, Signal.NAMED_BY_TASK) for path in self._raw]

    def read(self, root: Path, path: str, info: FileStat) -> Text:
        if path not in self._raw:
            return self._files.read(root, path, info)
        return self._text(path)

    def _text(self, path: str) -> Text:
        raw = self._raw[path]
        text = self._known.get((path, raw.stat))
        if text is None:
            text = masked(raw, path)
            self._known.put((path, raw.stat), text, 2 * len(text.content) + 512)
        return text

    def among(self, candidates: Candidates) -> Candidates:
        """Adds the documents to the files that can be chosen."""
        if not self._raw:
            return candidates
        problems = {path: raw.problem for path, raw in self._raw.items() if raw.problem}
        files = {
            path: Chunked(path, raw.data, partial(self._without_secrets, path))
            for path, raw in self._raw.items()
            if not raw.problem
        }
        return Candidates({**files, **candidates.files}, {**problems, **candidates.problems})

    def _without_secrets(self, path: str, _: bytes) -> bytes:
        return self._text(path).content.encode()


def _raw(document: NamedDocument) -> Raw:
    if document.data is None:
        return Raw(b"", document.stat, Reason.TOO_LARGE)
    if masking.is_secret_file(document.path):
        return Raw(b"", document.stat, Reason.SECRET_FILE)
    if not document.is_text:
        return Raw(b"", document.stat, Reason.BINARY)
    return Raw(document.data, document.stat)
