"""Agents that run as another user (``agents.run_as``)."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.repositories import git
from tests.support.sidecars import serving, small_repository

from cco_sidecar.runners.sandbox import trial
from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess

pytestmark = pytest.mark.skipif(bool(trial()), reason=f"no sandbox here: {trial()}")


@pytest.fixture
def place() -> Iterator[Path]:
    """Not pytest's directory, which only its own user may enter."""
    made = Path(tempfile.mkdtemp(prefix="cco-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("isolation", ["none", "worktree"])
def test_it_works_in_its_directory_and_reads_its_files(place: Path, ordinary: int, isolation: str) -> None:
    root = small_repository(place / "repository")
    for each in (root, *root.rglob("*")):
        os.chown(each, ordinary, ordinary, follow_symlinks=False)
    user = {"CCO_SIDECAR_RUN_AS": pwd.getpwuid(ordinary).pw_name, "CCO_SIDECAR_SANDBOX": "require"}
    script = (
        'id -u; test -s "$AGENT_RUN_DIR/token" && test -s "$CONTEXT_FILE" && echo work > made.txt && git add made.txt '
        "&& git -c user.name=A -c user.email=a@example.com commit --quiet --message Work"
    )
    with serving(place, root, environment=user) as sidecar:
        agent = spawned(sidecar, script, isolation)
        ended = agent.wait()
        assert (ended["status"], agent.logs()) == ("completed", [str(ordinary)]), (ended, agent.logs())
        owned = Path(ended["worktree"] or root, "made.txt").stat().st_uid
    assert owned == ordinary
    branch = ended["branch"] or "main"
    assert git(root, "-c", f"safe.directory={root}", "log", "--format=%s", "-1", branch).strip() == "Work"


def spawned(sidecar: SidecarProcess, script: str, isolation: str) -> SpawnedAgent:
    body = {
        "agent_type": "python-specialist",
        "issue_id": "issue-user",
        "command": ["sh", "-c", script],
        "isolation": isolation,
    }
    answer = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=body)
    assert answer.status_code == 201, answer.text
    return SpawnedAgent(sidecar, answer.json())
