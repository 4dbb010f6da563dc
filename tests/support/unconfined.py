"""Agents outside a sandbox. In a PID namespace of their own they would not know the pids that a test sees; what a sandbox
changes has tests of its own."""

from collections.abc import Iterator

import pytest

from cco_sidecar.testing.fixtures import scripted_agent
from cco_sidecar.testing.process import SidecarProcess

__all__ = ["scripted_agent", "unconfined"]


@pytest.fixture(scope="module", autouse=True)
def unconfined() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SidecarProcess.defaults, "CCO_SIDECAR_SANDBOX", "off")
        yield
