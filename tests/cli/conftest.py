"""One sidecar for the whole directory: these tests only call it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.receivers import LOCAL
from tests.support.sidecars import serving

from cco_sidecar.testing.fixtures import scripted_agent
from cco_sidecar.testing.process import SidecarProcess

__all__ = ["scripted_agent"]


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[SidecarProcess]:
    # Agents in a PID namespace do not know the pids that a test sees.
    unconfined = LOCAL | {"CCO_SIDECAR_SANDBOX": "off"}
    with serving(tmp_path_factory.mktemp("sidecar"), repository, environment=unconfined) as running:
        yield running
