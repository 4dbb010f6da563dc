"""The pytest fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import Agent, SidecarProcess


@pytest.fixture(scope="session")
def sidecar_root(pytestconfig: pytest.Config) -> Path:
    """The repository that the sidecar serves: the pytest root directory unless overridden."""
    return pytestconfig.rootpath


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory, sidecar_root: Path) -> Iterator[SidecarProcess]:
    """A real sidecar on free ports with its own storage, for the whole session."""
    running = SidecarProcess(tmp_path_factory.mktemp("sidecar") / "storage", sidecar_root)
    yield running
    running.stop()


@pytest.fixture
def agent_token(sidecar: SidecarProcess) -> Callable[..., Agent]:
    """``agent_token(agent_type="python-specialist", issue="issue-123", project="default")`` creates an identity with
    ``.token``, ``.headers`` and ``.metadata``, in the project in which ``scripted_agent`` spawns."""
    return partial(sidecar.agent, project="default")


@pytest.fixture
def scripted_agent(sidecar: SidecarProcess) -> Iterator[Callable[..., SpawnedAgent]]:
    """``scripted_agent(steps, issue="issue-123", **spawn)`` spawns an agent that executes the steps, which
    ``scripted_agent.py`` lists. Agents that still run at the end of the test are stopped."""
    spawned: list[SpawnedAgent] = []

    def spawn(steps: list[dict[str, Any]] | None = None, **options: Any) -> SpawnedAgent:
        spawned.append(spawn_scripted(sidecar, steps, **options))
        return spawned[-1]

    yield spawn
    for agent in spawned:
        agent.stop(force=True)
