"""Things that exist once in the code base, so that a hole that is closed there is closed everywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cco_sidecar

SOURCE = Path(cco_sidecar.__file__).parent
# The files that start programs, and which programs.
STARTERS = {
    "repository/git.py": "git",
    "services/context/workers.py": "the workers that build contexts",
    "services/system/doctor.py": "cco doctor",
    "runners/run.py": "shims",
    "runners/shim.py": "the agent",
    "runners/confine.py": "the agent, in its sandbox",
    "runners/sandbox.py": "the trial of the sandbox",
    "cli/process.py": "the sidecar itself",
    "cli/worker.py": "the command that works on an event",
    "cli/checks.py": "the versions of coding programs",
    "testing/": "what tests start",
}
# Looks for git on PATH, and starts nothing.
_MENTION_GIT = {"cli/checks.py"}
_STARTING = {
    "subprocess": {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "os": {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"},
    "pty": {"spawn", "fork"},
    "multiprocessing": {"Process", "Pool"},
}


def starts(source: str) -> list[int]:
    """Lines that start a program, or import by name what starts one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
                if name in _STARTING.get(owner, ()) or (owner == "os" and name.startswith(("exec", "spawn"))):
                    found.append(node.lineno)
            case ast.ImportFrom(module=str(owner), names=names):
                if {each.name for each in names} & _STARTING.get(owner, set()):
                    found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import subprocess\nsubprocess.run(['x'])", [2]),
        ("from subprocess import Popen", [1]),
        ("import os\nos.execv('x', [])\nos.posix_spawn('x', [], {})", [2, 3]),
        ("import asyncio\nasyncio.run(main())", []),
    ],
)
def test_what_starts_a_program_is_recognised(source: str, lines: list[int]) -> None:
    assert starts(source) == lines


def test_programs_are_started_in_few_places() -> None:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if starts(path.read_text())}
    unknown = [each for each in found if not each.startswith(tuple(STARTERS))]
    assert not unknown, f"these start programs, and only {sorted(STARTERS)} should: {unknown}"
    assert "repository/git.py" in found


def names_git(source: str) -> list[int]:
    """Lines that name git as a program: first in a command or a call, or looked up on PATH."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]) | ast.Call(args=[first, *_]):
                if isinstance(first, ast.Constant) and str(first.value).rpartition("/")[2] == "git":
                    found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("['git', 'log']", [1]),
        ("run('/usr/bin/git')", [1]),
        ("which('git')", [1]),
        ("['echo', 'git']", []),
    ],
)
def test_a_command_of_git_is_recognised(source: str, lines: list[int]) -> None:
    assert names_git(source) == lines


def test_only_one_runner_names_git() -> None:
    """Another runner would lack the clean environment, the limits, and the sidecar's own git directory."""
    named = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if names_git(path.read_text())}
    assert named == {"repository/git.py", *_MENTION_GIT}


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
