"""Agents that do what a test says, under the module's sidecar."""

from collections.abc import Iterator

import pytest

from cco_sidecar.testing.fixtures import scripted_agent
from cco_sidecar.testing.process import SidecarProcess

__all__ = ["scripted_agent"]


@pytest.fixture(scope="module", autouse=True)
def unconfined() -> Iterator[None]:
    """Agents in a PID namespace do not know the pids that a test sees. What a sandbox changes has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SidecarProcess.defaults, "CCO_SIDECAR_SANDBOX", "off")
        yield
