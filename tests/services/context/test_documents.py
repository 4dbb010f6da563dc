"""Which documents a task names."""

from __future__ import annotations

import pytest

from cco_sidecar.services.context.documents import _named_in


@pytest.mark.parametrize(
    ("task", "ids", "names"),
    [
        ("Build the plan.md", [], ["plan.md"]),
        ("See plan.md, then (notes.txt). And `the spec`?", [], ["the spec", "plan.md", "notes.txt"]),
        ("doc_0123456789abcdef01234567 and doc_0", ["doc_0123456789abcdef01234567"], []),
        ("src/app.py and ..\\a.py, a.b.toolongsuffix1, .env, end.", [], []),
        ("плана нет в плане.мд", [], ["плане.мд"]),
    ],
)
def test_names_and_ids(task: str, ids: list[str], names: list[str]) -> None:
    assert _named_in(task) == (ids, names)


@pytest.mark.parametrize("task", ["." * 100_000, "a." * 50_000, "`" * 100_000, '"x' * 50_000, "doc_" * 25_000])
def test_of_a_long_task_not_too_much_is_looked_up(task: str) -> None:
    ids, names = _named_in(task)
    assert len(ids) <= 200 and len(names) <= 200 and all(len(name) <= 255 for name in names)
