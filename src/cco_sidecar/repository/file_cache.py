"""The text of files: each version is read, decoded and masked once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.core.lru import ByteLru
from cco_sidecar.repository import masking
from cco_sidecar.repository.beneath import open_beneath
from cco_sidecar.repository.snapshot import FileStat

# Larger files are not read.
MAX_FILE_BYTES = 64 * 2**20
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 27})


class Raw(NamedTuple):
    """A file as UTF-8, with its secrets. ``problem`` says why there is none: ``binary``, ``too_large``, ``unreadable``.

    ``checksum`` is that of the file's bytes.
    """

    data: bytes
    checksum: str
    stat: FileStat
    problem: str = ""


class Text(NamedTuple):
    """The text of a file, with secrets masked. ``problem`` and ``checksum`` as in Raw; ``masked`` says what was
    masked. It has as many lines as the file."""

    content: str
    checksum: str
    masked: tuple[masking.Finding, ...]
    stat: FileStat
    problem: str = ""


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
                self._raw.put(key, raw, len(raw.data) + 512)
        return raw

    def read(self, root: Path, path: str, info: FileStat) -> Text:
        """Returns the text of a file; the version given by ``info`` may come from the cache."""
        key = (root, path, info)
        text = self._known.get(key)
        if text is None:
            text = _masked(self.raw(root, path, info), path)
            if text.stat == info:
                self._known.put(key, text, len(text.content) + 512)
        return text

    def clear(self) -> None:
        self._raw.clear()
        self._known.clear()


def _masked(raw: Raw, path: str) -> Text:
    data, masked = masking.mask_file(raw.data, path)
    return Text(data.decode("utf-8", "replace"), raw.checksum, tuple(masked), raw.stat, raw.problem)


def _read(root: Path, path: str, info: FileStat) -> Raw:
    try:
        descriptor = open_beneath(root, path)
    except OSError:
        return Raw(b"", "", info, "unreadable")
    with open(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if before.st_size > MAX_FILE_BYTES:
            return Raw(b"", "", FileStat.of(before), "too_large")
        data = file.read()
        after = FileStat.of(os.fstat(descriptor))
    content = decode(data)
    if content is None:
        return Raw(b"", "", after, "binary")
    return Raw(content.encode("utf-8", "replace"), f"sha256:{hashlib.sha256(data).hexdigest()}", after)


def decode(data: bytes) -> str | None:
    """Decodes UTF-8, UTF-16 with a byte order mark, or Latin-1; None if the bytes are not text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        # UTF-32 starts like UTF-16, but decoded as UTF-16 it contains NULs.
        text = data.decode("utf-16", errors="replace")
        return None if "\0" in text else text
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None if len(data.translate(None, _CONTROL)) < len(data) else data.decode("latin-1")
