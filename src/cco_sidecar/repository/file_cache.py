"""The text of files: each version is read, decoded and masked once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.core.lru import ByteLru
from cco_sidecar.core.reasons import Reason
from cco_sidecar.repository import masking
from cco_sidecar.repository.beneath import open_beneath
from cco_sidecar.repository.encodings import UTF_8, decode, is_utf_8
from cco_sidecar.repository.snapshot import FileStat

# Larger files are not read.
MAX_FILE_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20
# The beginning of a context as REST returns it, compact or indented, and as Markdown.
_CONTEXT = re.compile(
    rb'\s*\{\s*"issue_id":\s*"[^"]{0,200}",\s*"agent_type":\s*"[^"]{0,200}",\s*'
    rb'(?:"context":\s*\{\s*"project_structure"|"candidates":\s*\[)'
    rb"|issue_id: [^\n]{0,200}\nagent_type: [^\n]{0,200}\ncontext:\n  project_structure:"
    rb"|# Context of [^\n]{1,200} for [^\n]{1,200}\n\nProject `"
)


class Raw(NamedTuple):
    """A file as UTF-8, with its secrets. ``problem`` says why there is none: ``binary``, ``too_large``, ``unreadable``,
    or ``context`` for a saved context, which would repeat what is there.

    ``encoding`` is the one that the file is in; ``original`` its bytes, if they differ from ``data``.
    """

    data: bytes
    stat: FileStat
    problem: str = ""
    encoding: str = UTF_8
    original: bytes | None = None

    @property
    def checksum(self) -> str:
        """That of the file's bytes; empty if there are none."""
        if self.problem:
            return ""
        return f"sha256:{hashlib.sha256(self.data if self.original is None else self.original).hexdigest()}"


class Text(NamedTuple):
    """The text of a file, with secrets masked. ``problem``, ``checksum`` and ``encoding`` as in Raw; ``masked`` says
    what was masked. It has as many lines as the file."""

    content: str
    checksum: str
    masked: tuple[masking.Finding, ...]
    stat: FileStat
    problem: str = ""
    encoding: str = UTF_8


class FileCache:
    """Caches files and their texts up to a total size. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._raw: ByteLru[Hashable, Raw] = ByteLru(most_bytes // 2)
        self._known: ByteLru[Hashable, Text] = ByteLru(most_bytes // 2)

    def raw(self, root: Path, path: str, info: FileStat) -> Raw:
        """Returns a file; the version given by ``info`` may come from the cache."""
        key = (root, path, info)
        raw = self._raw.get(key)
        if raw is None:
            raw = _read(root, path, info)
            if raw.stat == info:
                self._raw.put(key, raw, len(raw.data) + len(raw.original or b"") + 512)
        return raw

    def read(self, root: Path, path: str, info: FileStat) -> Text:
        """Returns the text of a file; the version given by ``info`` may come from the cache."""
        key = (root, path, info)
        text = self._known.get(key)
        if text is None:
            text = masked(self.raw(root, path, info), path)
            if text.stat == info:
                self._known.put(key, text, len(text.content) + 512)
        return text

    def clear(self) -> None:
        self._raw.clear()
        self._known.clear()


def masked(raw: Raw, path: str) -> Text:
    """Returns the text of a file with secrets masked. Rules depend on the suffix of ``path``."""
    data, found = masking.mask_file(raw.data, path)
    return Text(data.decode("utf-8", "replace"), raw.checksum, tuple(found), raw.stat, raw.problem, raw.encoding)


def _read(root: Path, path: str, info: FileStat) -> Raw:
    try:
        descriptor = open_beneath(root, path)
    except OSError:
        return Raw(b"", info, Reason.UNREADABLE)
    try:
        before = os.fstat(descriptor)
        if before.st_size > MAX_FILE_BYTES:
            return Raw(b"", FileStat.of(before), Reason.TOO_LARGE)
        data = _all_of(descriptor, before.st_size)
        after = FileStat.of(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    return raw_of(data, after)


def _all_of(descriptor: int, size: int) -> bytes:
    """Returns what a regular file holds: ``size`` bytes, unless it is being written."""
    data = os.read(descriptor, size + 1)
    if len(data) <= size:
        return data
    parts = [data]
    while block := os.read(descriptor, _BLOCK_BYTES):
        parts.append(block)
    return b"".join(parts)


def raw_of(data: bytes, info: FileStat) -> Raw:
    """Returns a file with these bytes."""
    if _CONTEXT.match(data):
        return Raw(b"", info, Reason.SAVED_CONTEXT)
    if is_utf_8(data):
        return Raw(data, info)
    decoded = decode(data)
    if decoded is None:
        return Raw(b"", info, Reason.BINARY)
    return Raw(decoded.text.encode("utf-8", "replace"), info, encoding=decoded.encoding, original=data)
