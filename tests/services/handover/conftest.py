"""A sidecar that hands over by the rules, and a separate one for a single test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.handover.rules import handing_over
from tests.support.sidecars import serving
from tests.support.unconfined import scripted_agent, unconfined

from cco_sidecar.testing.process import SidecarProcess

__all__ = ["scripted_agent", "unconfined"]


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("handover")
    config = handing_over(directory / "config.json", mode="automatic")
    with serving(directory, root, config=config) as running:
        yield running
