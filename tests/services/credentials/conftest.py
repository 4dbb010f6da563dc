"""A sidecar whose agents are given credentials, and a separate one for a single test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.services.credentials.vaults import AGENTS, store
from tests.support.sidecars import fresh, serving, written

from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.credential_service_pb2_grpc import CredentialServiceStub


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[SidecarProcess]:
    """Logs everything."""
    directory = tmp_path_factory.mktemp("credentials")
    config = written(directory / "config.json", agents=AGENTS, sidecar={"log_level": "debug"})
    with serving(directory, root, config=config) as running:
        store(running, "RUNNER_KEY", "of-the-runner-5Jk2")
        yield running


@pytest.fixture(scope="module")
def stub(grpc_channel: grpc.Channel) -> Any:
    return CredentialServiceStub(grpc_channel)


@pytest.fixture
def name() -> str:
    return fresh("NAME").replace("-", "_")
