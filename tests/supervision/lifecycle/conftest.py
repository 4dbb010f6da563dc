"""A sidecar whose types are launched in many ways, and one that runs a single agent at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import end_all
from tests.support.repositories import commit_all
from tests.support.sidecars import small_repository, written
from tests.support.succession import Succession, scripted_runner

from cco_sidecar.testing.process import SidecarProcess

RUNNERS: dict[str, Any] = {
    "python-specialist": scripted_runner(output="stream-json"),
    "test-engineer": scripted_runner(retry={"attempts": 3, "backoff_seconds": 0.2}),
    "qa-engineer": scripted_runner(retry={"attempts": 3, "backoff_seconds": 3600}),
    "debugger": scripted_runner(stuck_after_seconds=1),
    "go-specialist": scripted_runner(stdin="prompt"),
    "rust-specialist": scripted_runner(limits={"memory_mb": 80, "processes": 6, "open_files": 40, "output_mb": 1}),
    "swift-specialist": {"command": ["no-program-of-this-name", "{task}"]},
    "code-reviewer": {"command": ["{workdir}/reviewer", "{issue_id}", "{model}"]},
    "chief-architect": scripted_runner(),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = small_repository(tmp_path_factory.mktemp("root") / "repository")
    (path / "notes").mkdir()
    (path / "notes" / "plan.xyz").write_text("the plan\n")
    reviewer = path / "reviewer"
    reviewer.write_text('#!/bin/sh\necho "reviewing $1 in $PWD"\n')
    reviewer.chmod(0o755)
    commit_all(path)
    return path


@pytest.fixture(scope="module")
def secret() -> str:
    """The key that signs its tokens."""
    return "a-secret-of-the-sidecar-that-is-long-enough"


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path, secret: str) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("sidecar")
    config = written(directory / "config.json", agents={"max_concurrent": 0, "runners": RUNNERS})
    environment = {"CCO_SIDECAR_JWT_SECRET": secret, "SIDECAR_LEFT_OVER": "x", "PLAIN_VARIABLE": "plain"}
    running = SidecarProcess(directory / "storage", root, config=config, environment=environment)
    yield running
    errors = running.stop()
    left = end_all(running.storage / "agents")
    assert (errors, left) == ("", [])


@pytest.fixture
def single_slot(tmp_path: Path, root: Path) -> Iterator[Succession]:
    """A sidecar that runs a single agent at a time."""
    made = Succession(tmp_path, root, max_concurrent=1, runners=RUNNERS)
    yield made
    made.close()
