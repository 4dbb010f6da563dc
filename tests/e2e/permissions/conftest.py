"""A sidecar without rate limits and budgets, whose agents sleep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.permissions.world import World, start

from cco_sidecar.testing.process import SidecarProcess


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    """A sidecar without rate limits and budgets, whose agents sleep."""
    directory = tmp_path_factory.mktemp("permissions")
    with start(directory, {"handover": {"limits": {"depth": 0, "agents": 0}}}) as running:
        yield running


@pytest.fixture(scope="module")
def world(sidecar: SidecarProcess) -> Iterator[World]:
    made = World(sidecar)
    yield made
    made.close()
