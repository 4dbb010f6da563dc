"""The packages as they are published, and the agents of examples/ built from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from tests.support.repositories import OURS

from cco_sidecar import __version__

# Builds stay here, so that a second run takes seconds.
WORK = OURS / ".build" / "polyglot"
DIST = WORK / "dist"

# What each agent needs beside this Python.
PROGRAMS = {
    "go": ("go",),
    "typescript-connect": ("node", "npm"),
    "typescript-grpc-js": ("node", "npm"),
    "rust": ("cargo",),
    "java": ("java", "mvn"),
    "python-sdk": (),
    "python-stubs": (),
}


@cache
def packages() -> Path:
    """Builds every package from this checkout, and returns their directory."""
    shutil.rmtree(DIST, ignore_errors=True)
    for source in (OURS / "clients" / "python", OURS):
        run(sys.executable, "-m", "uv", "build", "-q", "--no-build-isolation", "-o", str(DIST), str(source))
    run(sys.executable, str(OURS / "scripts" / "packages.py"), str(DIST))
    return DIST


@cache
def examples() -> Path:
    """A copy of examples/ outside the source tree, with the builds of earlier runs."""
    copy = WORK / "examples"
    listed = run("git", "-C", str(OURS), "ls-files", "-co", "--exclude-standard", "-z", "examples")
    for name in filter(None, listed.split("\0")):
        target = WORK / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(OURS / name, target)
    shutil.rmtree(copy / "build", ignore_errors=True)
    return copy


def missing(agent: str) -> list[str]:
    return [program for program in PROGRAMS[agent] if shutil.which(program) is None]


def make(*targets: str) -> str:
    """Runs make in the copy of examples/, with the packages as published."""
    return run("make", "-s", "-C", str(examples()), *options(), *targets)


def options() -> list[str]:
    return [f"DIST={packages()}", f"VERSION={__version__}", f"PYTHON={sys.executable}"]


def build(agent: str) -> None:
    """Builds an agent; skips the test, by name, where a program that it needs is missing."""
    if programs := missing(agent):
        pytest.skip(f"{agent}: not installed: {', '.join(programs)}")
    make(f"build-{agent}")


def run(*command: str, environment: dict[str, str] | None = None, timeout: float = 900) -> str:
    """Runs a program that must succeed, and returns its output."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | (environment or {}),
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
