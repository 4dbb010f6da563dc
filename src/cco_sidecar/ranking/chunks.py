"""Splits a file into pieces that can be read on their own: definitions, sections, paragraphs.

Works for every language: a piece ends where the indentation is small and something ends, such as a blank line or a
closing bracket. Sections of Markdown and reStructuredText begin at headings.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from cco_sidecar.ranking.words import Hit, Terms
from cco_sidecar.repository import masking

MASK = masking.MASK.encode()
# Lines per chunk.
_LEAST, _TARGET, _MOST = 10, 40, 80
_WHOLE = 56
# The cost of a boundary, in columns of four and lines of distance from the target.
_INDENT, _DISTANCE = 6.0, 0.5
_BLANK, _AFTER_TEXT, _AFTER_CLOSING, _CLOSING, _HEADING = 99.0, 3.0, 1.5, 6.0, -2.0
_GOOD = 12.0
_CLOSES = re.compile(rb"[\s})\];,]*$|\s*end\b")
_UNDERLINES = (b"===", b"---", b"~~~", b"^^^", b"***")


class Lines(NamedTuple):
    """Lines ``start`` to ``end``, from 0, without ``end``."""

    start: int
    end: int


# How often terms occur, by number.
Counts = tuple[tuple[int, int], ...]


class Found:
    """Where terms stand in a file, and how often."""

    __slots__ = ("_by_chunk", "_hits", "counts", "terms")

    def __init__(self, terms: Terms, hits: list[Hit]) -> None:
        self.terms = terms
        self.counts: Counts = tuple(sorted(Counter(hit.term for hit in hits).items())) if hits else ()
        # Terms and offsets in turn: there may be millions.
        self._hits = array("I", chain.from_iterable(hits))
        self._by_chunk: list[tuple[int, Counts]] | None = None

    def by_chunk(self, file: Chunked) -> list[tuple[int, Counts]]:
        """Returns the counts of each chunk that has a term."""
        if self._by_chunk is None:
            counts: dict[int, Counter[int]] = {}
            for term, offset in zip(self._hits[::2], self._hits[1::2], strict=True):
                counts.setdefault(file.chunk_at(offset), Counter())[term] += 1
            self._by_chunk = [(chunk, tuple(sorted(terms.items()))) for chunk, terms in counts.items()]
        return self._by_chunk


def _unchanged(data: bytes) -> bytes:
    return data


def lines_in(data: bytes | str) -> int:
    """Returns the number of lines; an empty text is one."""
    end = data.count(b"\n") if isinstance(data, bytes) else data.count("\n")
    return max(1, end + (data[-1:] not in (b"\n", "\n", b"", "")))


class Chunked:
    """A file's text, in chunks. Offsets are in bytes.

    ``mask`` takes the secrets out of a text and keeps its lines. It takes time, so it is called only for files in which
    something is found: what an agent must not read must not change its scores either.
    """

    def __init__(self, path: str, raw: bytes, mask: Callable[[bytes], bytes] = _unchanged) -> None:
        self.path = path
        self.raw = raw
        self._mask = mask
        # For the latest tasks that were ranked for, the newest first.
        self.searched: tuple[Found, ...] = ()

    @cached_property
    def data(self) -> bytes:
        """The text without secrets."""
        return self._mask(self.raw)

    @property
    def searchable(self) -> bytes:
        """The text without what stands for secrets: to find that would tell of the secret."""
        return self.data.replace(MASK, b" " * len(MASK))

    @cached_property
    def starts(self) -> list[int]:
        """The offset of each line."""
        starts, at = [0], self.data.find(b"\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.data.find(b"\n", at + 1)
        return starts

    @cached_property
    def line_count(self) -> int:
        return len(self.starts) - (self.starts[-1] == len(self.data))

    @cached_property
    def chunks(self) -> list[Lines]:
        """The chunks, in order; together they are the file."""
        return _split(self.path, self.data, max(1, self.line_count))

    @cached_property
    def sizes(self) -> list[int]:
        """The length of each chunk, in bytes."""
        return [self.size(chunk) for chunk in self.chunks]

    @cached_property
    def _chunk_starts(self) -> list[int]:
        return [self.starts[chunk.start] for chunk in self.chunks]

    def chunk_at(self, offset: int) -> int:
        """Returns the number of the chunk that contains an offset."""
        return bisect_right(self._chunk_starts, offset) - 1

    def line_at(self, offset: int) -> int:
        return bisect_right(self.starts, offset) - 1

    def size(self, lines: Lines) -> int:
        """Returns the length of some lines, in bytes."""
        return self.offset(lines.end) - self.starts[lines.start]

    def offset(self, line: int) -> int:
        """Returns where a line begins; the end of the text for the line after the last."""
        return self.starts[line] if line < len(self.starts) else len(self.data)


def _split(path: str, data: bytes, count: int) -> list[Lines]:
    if count <= _WHOLE:
        return [Lines(0, count)]
    costs = _costs(path, data.split(b"\n")[:count])
    chunks = []
    at = 0
    while count - at > _MOST:
        cut = _cheapest(costs, at + _LEAST, min(at + _MOST, count - 1), at + _TARGET)[1]
        chunks.append(Lines(at, cut))
        at = cut
    if count - at > _TARGET * 1.5:
        cost, cut = _cheapest(costs, at + _LEAST, count - _LEAST, (at + count) / 2)
        if cost < _GOOD:
            chunks.append(Lines(at, cut))
            at = cut
    chunks.append(Lines(at, count))
    return chunks


def _cheapest(costs: list[float], first: int, last: int, target: float) -> tuple[float, int]:
    return min((costs[line] * _INDENT + abs(line - target) * _DISTANCE, line) for line in range(first, last + 1))


def _costs(path: str, lines: list[bytes]) -> list[float]:
    """Returns what it costs to begin a chunk at each line."""
    markdown, rst = path.endswith((".md", ".mdx", ".markdown")), path.endswith(".rst")
    costs = []
    # What it costs to begin a chunk after the line before.
    after = 0.0
    for number, line in enumerate(lines):
        text = line.lstrip()
        if not text:
            costs.append(_BLANK)
            after = 0.0
            continue
        closes = _CLOSES.match(line) is not None
        if (markdown and text[:1] == b"#" and len(text) == len(line)) or (
            rst and number + 1 < len(lines) and lines[number + 1][:3] in _UNDERLINES
        ):
            costs.append(_HEADING)
        else:
            tabs = len(line) - len(line.lstrip(b"\t"))
            cost = tabs if tabs else (len(line) - len(text)) / 4
            costs.append(cost + after + (_CLOSING if closes else 0.0))
        after = _AFTER_CLOSING if closes else _AFTER_TEXT
    return costs
