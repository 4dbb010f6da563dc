"""The chain of the security log: each line holds the hash of the one before, so that a changed line shows.

{"timestamp": ..., "previous": "<hash of the line before>", "hash": "<SHA-256 of this line without its hash>"}
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import logging.handlers
import os
import re
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import orjson

# Before the first line.
START = "0" * 64
_CUT_OFF = "lines_cut_off"
_MAX_CUT_OFF = 1_000_000
_LINE = re.compile(r'(\{.*,"previous":"([0-9a-f]{64})")(,"hash":"([0-9a-f]{64})"\})')


class Link(NamedTuple):
    """What a line says: the hash of the line before, its own, and whether that is right."""

    previous: str
    hash: str
    intact: bool


class Problem(NamedTuple):
    """A place where the chain does not hold."""

    file: Path
    line: int
    text: str


class Verified(NamedTuple):
    """``lines`` that hold together, ``first`` and ``head``, the hashes before them and of the last.

    ``older`` lines before the chain are of a version that wrote none. ``cut_off`` lines were left by a crash or a full
    disk, and the log says so.
    """

    lines: int
    first: str
    head: str
    older: int
    cut_off: int
    problems: list[Problem]


def chained(line: str, previous: str) -> tuple[str, str]:
    """Returns a JSON object with its place in the chain, and its hash."""
    whole = f'{line[:-1]},"previous":"{previous}"'
    digest = _digest(whole)
    return f'{whole},"hash":"{digest}"}}', digest


def link_of(line: str) -> Link | None:
    """Returns the link of a line; None for a line that has none, such as one that was cut off by a full disk."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    return Link(found[2], found[4], _digest(found[1]) == found[4])


def _digest(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()


def _bytes(text: str) -> bytes:
    """Encodes what was read from a file, byte by byte."""
    return text.encode("utf-8", "surrogateescape")


class ChainedFile(logging.handlers.RotatingFileHandler):
    """A rotated log file whose lines are chained, also across its files and across restarts."""

    def __init__(self, path: Path, *, most_bytes: int, files: int) -> None:
        self._head = _head_of(path, files)
        # False when the file may end with a line that a crash or a full disk has cut off.
        self._whole = False
        super().__init__(path, maxBytes=most_bytes, backupCount=files, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        # Without a buffer, a write that failed leaves nothing that a later one would write.
        return cast(TextIOWrapper, open(self.baseFilename, "ab", buffering=0))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not self._whole:
                self._mend()
            self._chain(self.format(record))
        except Exception:
            self.handleError(record)

    def _mend(self) -> None:
        """Ends a line that was cut off, and says in the next which it was."""
        cut_off = _cut_off(Path(self.baseFilename))
        if cut_off:
            notice = {"msg": "lines were cut off by a crash or a full disk", "levelname": "WARNING", "name": "security"}
            digests = [_digest(line) for line in cut_off]
            record = logging.makeLogRecord(notice | {"event": _CUT_OFF, "sha256": digests})
            self._chain(self.format(record), before="\n")
        self._whole = True

    def _chain(self, line: str, before: str = "") -> None:
        text, digest = chained(line, self._head)
        data = _bytes(f"{before}{text}\n")
        stream = self._stream_for(len(data))
        self._whole = False
        if stream.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.baseFilename)
        self._head, self._whole = digest, True

    def _stream_for(self, size: int) -> BinaryIO:
        if self.stream is not None and self._whole and self.stream.tell() + size > self.maxBytes > 0:
            # If the files cannot be renamed, the log goes on in this one.
            with contextlib.suppress(OSError):
                self.doRollover()
        if self.stream is None:
            self.stream = self._open()
        return cast(BinaryIO, self.stream)


def files_of(path: Path, most: int = 99) -> list[Path]:
    """Returns the files of a rotated log, the oldest first."""
    older = [path.with_name(f"{path.name}.{number}") for number in range(most, 0, -1)]
    return [each for each in (*older, path) if each.exists()]


def verify(files: list[Path], *, complete: bool = False) -> Verified:
    """Follows the chain through the files, the oldest first. Raises OSError.

    ``complete``: the files hold the log from its beginning.
    """
    lines, older, first, head = 0, 0, "", ""
    problems: list[Problem] = []
    strange: list[tuple[Problem, str]] = []
    mended: set[str] = set()
    for file, number, line in _lines(files):
        link = link_of(line)
        if link is None:
            older += not head
            if head:
                strange.append((Problem(file, number, "not a line of the chain"), _digest(line)))
            continue
        if not link.intact:
            problems.append(Problem(file, number, "changed: its hash is that of another text"))
        elif head and link.previous != head:
            problems.append(Problem(file, number, "a line before it is missing, changed or new"))
        elif not head and complete and link.previous != START:
            problems.append(Problem(file, number, "the lines before it are missing"))
        mended |= _mended(line)
        first = first or link.previous
        head = link.hash
        lines += 1
    problems += [problem for problem, digest in strange if digest not in mended]
    cut_off = sum(digest in mended for _, digest in strange)
    order = {file: number for number, file in enumerate(files)}
    problems.sort(key=lambda problem: (order[problem.file], problem.line))
    return Verified(lines, first or START, head or START, older, cut_off, problems)


def _mended(line: str) -> set[str]:
    """Returns the hashes of the lines that this one says were cut off."""
    if f'"event":"{_CUT_OFF}"' not in line:
        return set()
    said = orjson.loads(_bytes(line))
    return set(said["sha256"]) if said.get("event") == _CUT_OFF else set()


def holds(files: list[Path], digest: str) -> bool:
    """Reports whether a line has this hash."""
    links = (link_of(line) for _, _, line in _lines(files))
    return digest == START or any(link is not None and link.hash == digest for link in links)


def _lines(files: list[Path]) -> Iterator[tuple[Path, int, str]]:
    for file in files:
        with open(file, encoding="utf-8", errors="surrogateescape", newline="\n") as text:
            for number, line in enumerate(text, 1):
                yield file, number, line.removesuffix("\n")


def _head_of(path: Path, files: int) -> str:
    for file in reversed(files_of(path, files)):
        # Not splitlines: a text may hold what Unicode counts as the end of a line.
        for line in reversed(file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")):
            if (link := link_of(line)) is not None:
                return link.hash
    return START


def _cut_off(path: Path) -> list[str]:
    """Returns what is left of lines after the last whole one, if the file does not end with one."""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_CUT_OFF))
        tail = file.read().decode("utf-8", "surrogateescape")
    if not tail or tail.endswith("\n"):
        return []
    found: list[str] = []
    for line in reversed(tail.split("\n")):
        if link_of(line) is not None:
            break
        found.append(line)
    # A log of an earlier version has no chain.
    return found[:1] if len(found) == tail.count("\n") + 1 else found
