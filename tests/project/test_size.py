"""Files and functions stay small enough to read at once."""

from __future__ import annotations

import ast

from tests.support.repositories import OURS

SOURCE = OURS / "src" / "cco_sidecar"
# One file because it runs without the package: the record that says why.
LARGE = {"runners/shim.py": "0010-shim.md", "runners/confine.py": "0014-sandbox.md"}


def test_a_file_has_at_most_400_lines_or_a_record_that_says_why() -> None:
    large = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if len(path.read_text().splitlines()) > 400
    }
    assert large == LARGE.keys()
    for name, record in LARGE.items():
        assert name.rpartition("/")[2] in (OURS / "docs" / "adr" / record).read_text()


def test_a_function_outside_the_command_has_at_most_60_lines() -> None:
    long = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"
        for path in SOURCE.rglob("*.py")
        if "cli" not in path.relative_to(SOURCE).parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert long == []


def test_the_parts_are_joined_in_under_200_lines_without_a_closure() -> None:
    text = (SOURCE / "app.py").read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert len(text.splitlines()) < 200
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda)]
    inner = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert not [each for node in functions for each in ast.walk(node) if isinstance(each, inner) and each is not node]
