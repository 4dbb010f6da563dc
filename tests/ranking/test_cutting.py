"""Excerpts: within the budget, and every gap says what it stands for."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.ranking import cutting
from cco_sidecar.ranking.chunks import Chunked, Lines
from cco_sidecar.ranking.relevance import Piece

GAP = re.compile(r"\[\.\.\. lines? (\d+)(?:-(\d+))? left out \.\.\.\]\n")


class Plain:
    """Costs without escapes: a file takes ``file`` bytes, a gap none."""

    def __init__(self, file: int = 0, lines: int | None = None) -> None:
        self._file = file
        self._lines = lines

    def of_file(self, path: str) -> int:
        return self._file

    def of_lines(self, file: Chunked, lines: Lines) -> int:
        return file.size(lines) if self._lines is None else self._lines

    def of_gap(self, start: int, end: int) -> int:
        return 0


def chosen(sizes: list[int], max_bytes: int) -> tuple[cutting.Chosen, dict[str, Chunked]]:
    files = {
        f"f{n}": Chunked(f"f{n}", "".join(f"line {k} of {n}\n" for k in range(size)).encode())
        for n, size in enumerate(sizes)
    }
    pieces = [Piece(1.0 / (1 + n), path, n) for path, file in files.items() for n in range(len(file.chunks))]
    pieces.sort(key=lambda piece: -piece.score)
    choice = cutting.choose(pieces, files, max_bytes=max_bytes, costs=Plain(file=50))
    return choice, files


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(0, 20_000))
def test_excerpts_fit_and_do_not_overlap(sizes: list[int], max_bytes: int) -> None:
    (excerpts, complete), files = chosen(sizes, max_bytes)
    used = 0
    for path, parts in excerpts:
        file = files[path]
        assert parts == sorted(parts)
        assert all(first.end < second.start for first, second in pairwise(parts))
        assert all(0 <= part.start < part.end <= max(1, file.line_count) for part in parts)
        used += 50 + sum(file.size(part) for part in parts)
    assert used <= max_bytes
    if complete and used < 2_000:
        assert {excerpt.path for excerpt in excerpts} == set(files)


@given(st.lists(st.text(st.characters(exclude_characters="\n["), max_size=8), min_size=1, max_size=40), st.data())
def test_shown_lines_and_gaps_are_the_text(lines: list[str], data: st.DataObject) -> None:
    text = "".join(f"{line}\n" for line in lines)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(lines)), max_size=6)))
    parts = [Lines(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    rebuilt, at = [], 0
    for line in cutting.shown(text, parts, len(lines)).split("\n")[:-1]:
        if found := GAP.fullmatch(line + "\n"):
            first, last = int(found[1]), int(found[2] or found[1])
            assert first == at + 1
            rebuilt += lines[first - 1 : last]
            at = last
        else:
            rebuilt.append(line)
            at += 1
    assert rebuilt == lines


def test_a_whole_file_has_no_gap() -> None:
    assert cutting.shown("a\nb", [Lines(0, 2)], 2) == "a\nb"


def test_a_context_stops_when_nothing_more_matters() -> None:
    files = {name: Chunked(name, b"word\n" * 50) for name in ("a", "b")}
    pieces = [Piece(10.0, "a", 0), Piece(0.5, "b", 0)]

    def names(max_bytes: int, length: int = 5000) -> list[str]:
        choice = cutting.choose(pieces, files, max_bytes=max_bytes, costs=Plain(lines=length))
        return [excerpt.path for excerpt in choice.excerpts]

    assert names(32_000) == ["a"] and names(512_000) == ["a", "b"]
    # It does not stop before it has anything to speak of.
    assert names(32_000, length=500) == ["a", "b"]


def test_what_did_not_fit_is_told() -> None:
    files = {name: Chunked(name, b"word\n" * 50) for name in ("a", "b")}
    pieces = [Piece(1.0, "a", 0), Piece(0.9, "b", 0)]
    for room, complete in ((300, False), (1000, True)):
        choice = cutting.choose(pieces, files, max_bytes=room, costs=Plain())
        assert choice.complete is complete


def test_a_piece_comes_with_four_lines_around_it() -> None:
    text = "".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(100))
    file = Chunked("a.py", text.encode())
    chunk = file.chunks[3]
    (excerpt,) = cutting.choose([Piece(1.0, "a.py", 3)], {"a.py": file}, max_bytes=10_000, costs=Plain()).excerpts
    assert excerpt.parts == [Lines(chunk.start - 4, chunk.end + 4)]


def test_pieces_that_come_first_are_taken_whatever_their_score() -> None:
    files = {name: Chunked(name, b"x = 1\n" * 20) for name in ("a", "b", "c")}
    pieces = [Piece(1.0, "a", 0), Piece(0.001, "b", 0)]
    chosen = cutting.choose(pieces, files, max_bytes=300, costs=Plain(), first=[Piece(0.0, "c", 0)])
    assert [each.path for each in chosen.excerpts] == ["c", "a"]


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(0, 20_000))
def test_gaps_count(sizes: list[int], max_bytes: int) -> None:
    class WithGaps(Plain):
        def of_gap(self, start: int, end: int) -> int:
            return len(cutting.gap(start, end))

    files = {
        f"f{n}": Chunked(f"f{n}", "".join(f"line {k}\n" for k in range(size)).encode()) for n, size in enumerate(sizes)
    }
    pieces = [Piece(1.0 / (1 + n % 3), path, n) for path, file in files.items() for n in range(len(file.chunks))]
    pieces.sort(key=lambda piece: -piece.score)
    excerpts = cutting.choose(pieces, files, max_bytes=max_bytes, costs=WithGaps()).excerpts
    texts = [cutting.shown(files[path].data.decode(), parts, files[path].line_count or 1) for path, parts in excerpts]
    assert sum(map(len, texts)) <= max_bytes
