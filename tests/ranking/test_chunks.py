"""Chunks: they are the file, and end where a definition or a section does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.ranking.chunks import Chunked

FUNCTION = "def f{}(x):\n    y = x + 1\n\n    if y:\n        return y\n    return x\n\n\n"


@given(st.lists(st.sampled_from(["", "x", "    y", "\tz", "}", "# a", "end", "é" * 30]), max_size=400), st.booleans())
def test_chunks_are_the_file(lines: list[str], ends: bool) -> None:
    data = ("\n".join(lines) + ("\n" if ends and lines else "")).encode()
    file = Chunked("a.py", data)
    assert b"".join(data[file.offset(c.start) : file.offset(c.end)] for c in file.chunks) == data
    assert file.chunks[0].start == 0 and file.chunks[-1].end == max(1, file.line_count)
    assert all(first.end == second.start for first, second in pairwise(file.chunks))
    assert all(chunk.end - chunk.start <= 80 for chunk in file.chunks)
    for offset in range(0, len(data), 7):
        chunk = file.chunks[file.chunk_at(offset)]
        assert file.offset(chunk.start) <= offset < file.offset(chunk.end)
    assert file.line_count == len(data.decode().split("\n")) - data.endswith(b"\n") or not data


def test_a_chunk_begins_with_a_definition() -> None:
    text = "".join(FUNCTION.format(number) for number in range(60))
    file = Chunked("a.py", text.encode())
    lines = text.split("\n")
    assert len(file.chunks) > 5
    assert all(lines[chunk.start].startswith("def ") for chunk in file.chunks)


@pytest.mark.parametrize(
    ("path", "heading"), [("a.md", "## Part {}\n\n"), ("a.rst", "Part {}\n======\n\n"), ("a.mdx", "# Part {}\n\n")]
)
def test_a_section_begins_with_its_heading(path: str, heading: str) -> None:
    text = "".join(heading.format(n) + "words of it\n\n    code\n\nmore words\n" * 5 for n in range(20))
    file = Chunked(path, text.encode())
    lines = text.split("\n")
    assert len(file.chunks) > 5
    assert all("Part" in lines[chunk.start] for chunk in file.chunks)
