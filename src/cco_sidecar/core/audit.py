"""The chain of the security log: each line holds the hash of the one before, so that a changed line shows.

{"timestamp": ..., "previous": "<hash of the line before>", "hash": "<SHA-256 of this line without its hash>"}
"""

from __future__ import annotations

import hashlib
import logging
import logging.handlers
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Before the first line.
START = "0" * 64
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
    """``lines`` that hold together, ``first`` and ``head``, the hashes before them and of the last."""

    lines: int
    first: str
    head: str
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
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class ChainedFile(logging.handlers.RotatingFileHandler):
    """A rotated log file whose lines are chained, also across its files and across restarts."""

    def __init__(self, path: Path, *, most_bytes: int, files: int) -> None:
        self._head = _head_of(path, files)
        super().__init__(path, maxBytes=most_bytes, backupCount=files, encoding="utf-8")
        # A line that a crash or a full disk has cut off.
        self._torn = _ends_torn(path)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text, digest = chained(self.format(record), self._head)
            assert self.stream is not None, "it is opened by the constructor"
            if self.stream.tell() + len(text) > self.maxBytes > 0:
                self.doRollover()
                self._torn = False
            written = f"\n{text}\n" if self._torn else f"{text}\n"
            self._torn = True
            self.stream.write(written)
            self.flush()
            self._head, self._torn = digest, False
        except Exception:
            self.handleError(record)


def files_of(path: Path, most: int = 99) -> list[Path]:
    """Returns the files of a rotated log, the oldest first."""
    older = [path.with_name(f"{path.name}.{number}") for number in range(most, 0, -1)]
    return [each for each in (*older, path) if each.exists()]


def verify(files: list[Path]) -> Verified:
    """Follows the chain through the files, the oldest first. Raises OSError.

    Lines without a link are reported: the log was written by an earlier version, or someone changed them.
    """
    lines, first, head = 0, "", ""
    problems: list[Problem] = []
    for file, number, line in _lines(files):
        link = link_of(line)
        if link is None:
            problems.append(Problem(file, number, "not a line of the chain"))
            continue
        if not link.intact:
            problems.append(Problem(file, number, "changed: its hash is that of another text"))
        elif head and link.previous != head:
            problems.append(Problem(file, number, "a line before it is missing, changed or new"))
        first = first or link.previous
        head = link.hash
        lines += 1
    return Verified(lines, first or START, head or START, problems)


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


def _ends_torn(path: Path) -> bool:
    content = path.read_bytes()[-1:]
    return content not in (b"", b"\n")
