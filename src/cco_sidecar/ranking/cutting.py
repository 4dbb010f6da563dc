"""Chooses the pieces that fit a budget, and shows what was left out between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from cco_sidecar.ranking.chunks import Chunked, Lines
from cco_sidecar.ranking.relevance import Piece

# Lines around a piece: what belongs to it often stands just outside.
_AROUND = 4
# Budgets in bytes, and the share of the best score below which nothing more is taken.
_LEAST_SHARES = ((64_000, 0.2),)
# What a context has at least before it stops below its budget, in bytes.
_LEAST_BYTES = 2_000
# Less space than this holds no piece, in bytes.
_LEAST_PIECE_BYTES = 64
# When so many pieces did not fit, the budget is full.
_MOST_MISSED = 400


class Excerpt(NamedTuple):
    """The parts of a file that were chosen, in order."""

    path: str
    parts: list[Lines]


class Chosen(NamedTuple):
    """What was chosen. ``complete``: nothing that matters was left out for lack of space."""

    excerpts: list[Excerpt]
    complete: bool


class Costs(Protocol):
    """What parts of a response take, in bytes."""

    def of_file(self, path: str) -> int:
        """Returns what a file takes beside its text."""

    def of_lines(self, file: Chunked, lines: Lines) -> int: ...

    def of_gap(self, start: int, end: int) -> int:
        """Returns what the line takes that stands for lines ``start`` to ``end``."""


def choose(
    pieces: Sequence[Piece],
    files: Mapping[str, Chunked],
    *,
    max_bytes: float,
    costs: Costs,
    first: Sequence[Piece] = (),
    fills: bool = False,
) -> Chosen:
    """Returns excerpts that fit, in the order of their best pieces.

    ``first``: pieces that are taken before the others; ``fills``: takes what fits, even what matters much less than the
    best.
    """
    least = 0.0
    if pieces and not fills:
        least = pieces[0].score * next((share for most, share in _LEAST_SHARES if max_bytes <= most), 0.0)
    chosen: dict[str, list[Lines]] = {}
    gaps: dict[str, int] = {}
    used, complete, missed = 0, True, 0
    for number, piece in enumerate((*first, *pieces)):
        if number >= len(first) and (piece.score <= 0 or (piece.score < least and used >= _LEAST_BYTES)):
            break
        if max_bytes - used < _LEAST_PIECE_BYTES or missed > _MOST_MISSED:
            complete = False
            break
        file = files[piece.path]
        parts = chosen.get(piece.path)
        if parts is None and used + file.sizes[piece.chunk] > max_bytes:
            # Smaller pieces that matter nearly as much may still fit.
            complete, missed = False, missed + 1
            continue
        chunk = file.chunks[piece.chunk]
        around = Lines(max(0, chunk.start - _AROUND), min(file.line_count or 1, chunk.end + _AROUND))
        new = [around] if parts is None else _without(around, parts)
        if used + sum(map(file.size, new)) > max_bytes:
            complete, missed = False, missed + 1
            continue
        merged = new if parts is None else _merged([*parts, *new])
        of_gaps = _of_gaps(merged, file.line_count or 1, costs)
        size = sum(costs.of_lines(file, part) for part in new) + of_gaps - gaps.get(piece.path, 0)
        if parts is None:
            size += costs.of_file(piece.path)
        if used + size > max_bytes:
            complete, missed = False, missed + 1
            continue
        used += size
        chosen[piece.path], gaps[piece.path] = merged, of_gaps
    return Chosen([Excerpt(path, parts) for path, parts in chosen.items()], complete)


def shown(text: str, parts: Sequence[Lines], count: int) -> str:
    """Returns the chosen lines of a text of ``count`` lines, with a line in brackets for each gap."""
    # What follows the last part is not split.
    lines = text.split("\n", parts[-1].end if parts else 0)
    out = []
    at = 0
    for part in parts:
        if part.start > at:
            out.append(gap(at, part.start))
        out += [f"{line}\n" for line in lines[part.start : part.end]]
        at = part.end
    if out and at == len(lines):
        # The last line of the text has no line end of its own.
        out[-1] = out[-1][:-1]
    if at < count:
        out.append(gap(at, count))
    return "".join(out)


def gap(start: int, end: int) -> str:
    """Returns the line that stands for lines ``start`` to ``end``, from 0, that were left out."""
    if end - start == 1:
        return f"[... line {end} left out ...]\n"
    return f"[... lines {start + 1}-{end} left out ...]\n"


def _of_gaps(parts: Sequence[Lines], count: int, costs: Costs) -> int:
    """Returns what the gaps of a file of ``count`` lines take."""
    ends = [0, *(part.end for part in parts)]
    starts = [*(part.start for part in parts), count]
    return sum(costs.of_gap(end, start) for end, start in zip(ends, starts, strict=True) if start > end)


def _without(lines: Lines, taken: Sequence[Lines]) -> list[Lines]:
    new = []
    at = lines.start
    for other in sorted(taken):
        if other.end <= at or other.start >= lines.end:
            continue
        if other.start > at:
            new.append(Lines(at, other.start))
        at = max(at, other.end)
    if at < lines.end:
        new.append(Lines(at, lines.end))
    return new


def _merged(parts: Sequence[Lines]) -> list[Lines]:
    merged: list[Lines] = []
    for part in sorted(parts):
        if merged and part.start <= merged[-1].end:
            merged[-1] = Lines(merged[-1].start, max(merged[-1].end, part.end))
        else:
            merged.append(part)
    return merged
