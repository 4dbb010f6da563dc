"""A sidecar without a limit on agents, and one that runs a single agent at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.sidecars import serving, written
from tests.wire.agents.deployment import RUNNERS, Deployment

from cco_sidecar.testing.process import SidecarProcess


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("golden")
    config = written(directory / "config.json", agents={"runners": RUNNERS})
    with serving(directory, root, config=config) as running:
        yield running


@pytest.fixture(scope="module")
def single_slot(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    """Runs a single agent at a time."""
    directory = tmp_path_factory.mktemp("crowded")
    config = written(directory / "config.json", agents={"runners": RUNNERS, "max_concurrent": 1})
    with serving(directory, root, config=config) as running:
        yield running


def _deployment(sidecar: SidecarProcess) -> Iterator[Deployment]:
    made = Deployment(sidecar)
    yield made
    made.clean()
    made.transports.close()


@pytest.fixture
def deployment(sidecar: SidecarProcess) -> Iterator[Deployment]:
    yield from _deployment(sidecar)


@pytest.fixture
def single_slot_deployment(single_slot: SidecarProcess) -> Iterator[Deployment]:
    yield from _deployment(single_slot)
