"""Things that exist once in the code base, so that a hole that is closed there is closed everywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cco_sidecar

SOURCE = Path(cco_sidecar.__file__).parent
# The files that start programs, and which programs.
STARTERS = {
    "repository/git.py": "git",
    "services/context/workers.py": "the workers that build contexts",
    "runners/run.py": "shims",
    "runners/sandbox.py": "the trial of the sandbox",
    "cli/process.py": "the sidecar itself",
    "cli/checks.py": "the versions of coding programs",
    "testing/": "what tests start",
}
_CALLS = {"run", "Popen", "call", "check_call", "check_output", "create_subprocess_exec", "create_subprocess_shell"}
_OWNERS = {"subprocess", "asyncio", "os"}


def starts(path: Path) -> Iterator[int]:
    """Lines that start a program."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            name = f"{node.func.value.id}.{node.func.attr}"
            if (
                name != "asyncio.run"
                and node.func.value.id in _OWNERS
                and node.func.attr in (*_CALLS, "system", "popen")
            ):
                yield node.lineno


def test_programs_are_started_in_few_places() -> None:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if list(starts(path))}
    unknown = [each for each in found if not each.startswith(tuple(STARTERS))]
    assert not unknown, f"these start programs, and only {sorted(STARTERS)} should: {unknown}"
    assert "repository/git.py" in found


def test_only_one_runner_names_git() -> None:
    """Another runner would lack the clean environment, the limits, and the sidecar's own git directory."""
    named = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple) and node.elts:
                first = node.elts[0]
                if isinstance(first, ast.Constant) and first.value in ("git", "/usr/bin/git"):
                    named.append(str(path.relative_to(SOURCE)))
    assert set(named) <= {"repository/git.py"}, named


# The modules of repository/ that read files of a project; the others read git's own files.
_READERS = ("repository/file_cache.py", "repository/metadata.py", "repository/snapshot.py", "repository/watch.py")


def test_contexts_open_files_in_one_way_only() -> None:
    """A file opened by its path may have become a link to a secret since the check (repository/beneath.py)."""
    found = []
    modules = [*SOURCE.glob("ranking/*.py"), *SOURCE.glob("services/context/*.py"), *map(SOURCE.joinpath, _READERS)]
    assert len(modules) > 10
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Attribute) and called.attr in ("read_text", "read_bytes"):
                found.append(f"{path.name}:{node.lineno}")
            if isinstance(called, ast.Name) and called.id == "open":
                first = node.args[0]
                if not (isinstance(first, ast.Name) and first.id == "descriptor") and "open_beneath" not in ast.unparse(
                    first
                ):
                    found.append(f"{path.name}:{node.lineno}")
    assert not found, found
