"""The text of files: each version is read, decoded and masked once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.core.languages import language_of
from cco_sidecar.core.lru import ByteLru
from cco_sidecar.repository import masking
from cco_sidecar.repository.beneath import open_beneath
from cco_sidecar.repository.snapshot import FileStat

# Larger files are not read.
MAX_FILE_BYTES = 64 * 2**20
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 27})


class Text(NamedTuple):
    """The text of a file. ``problem`` says why there is none: ``binary``, ``too_large`` or ``unreadable``.

    ``checksum`` is that of the file's bytes; ``masked`` counts the masked secrets.
    """

    content: str
    checksum: str
    masked: int
    stat: FileStat
    problem: str = ""


class FileCache:
    """Caches texts up to a total size. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._known: ByteLru[Hashable, Text] = ByteLru(most_bytes)

    def read(self, root: Path, path: str, info: FileStat) -> Text:
        """Returns the text of a file; the version given by ``info`` may come from the cache."""
        key = (root, path, info)
        text = self._known.get(key)
        if text is None:
            text = _read(root, path, info)
            if text.stat == info:
                self._known.put(key, text, len(text.content) + 512)
        return text

    def clear(self) -> None:
        self._known.clear()


def _read(root: Path, path: str, info: FileStat) -> Text:
    try:
        descriptor = open_beneath(root, path)
    except OSError:
        return Text("", "", 0, info, "unreadable")
    with open(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if before.st_size > MAX_FILE_BYTES:
            return Text("", "", 0, FileStat.of(before), "too_large")
        data = file.read()
        after = FileStat.of(os.fstat(descriptor))
    content = _decode(data)
    if content is None:
        return Text("", "", 0, after, "binary")
    content, masked = masking.mask(content, language_of(path))
    return Text(content, f"sha256:{hashlib.sha256(data).hexdigest()}", masked, after)


def _decode(data: bytes) -> str | None:
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
