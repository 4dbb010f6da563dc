"""A sidecar that hands over by the rules, and one of its own for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agents.handover.rules import handing_over
from tests.support.sidecars import House, fresh, small_repository

from cco_sidecar.testing.process import SidecarProcess


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_repository(tmp_path_factory.mktemp("repository") / "small")


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("handover")
    config = handing_over(directory / "config.json", mode="automatic")
    running = SidecarProcess(directory / "storage", root, config=config)
    yield running
    assert running.stop() == ""


@pytest.fixture
def house(tmp_path: Path, root: Path) -> Iterator[House]:
    """For tests that need a sidecar of their own."""
    alone = House(tmp_path / "a" / "b" / "c", root)
    yield alone
    assert alone.stop() == ""


@pytest.fixture
def project() -> str:
    return fresh("project")
