"""Agents without a sandbox. In their own PID namespace they would not know the pids that a test sees; the effects of a
sandbox have their own tests.
"""

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
