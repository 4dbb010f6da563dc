"""A runner that reaches its sidecar over TLS, with a certificate of its own; its agents need none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.certificates import Pair
from tests.support.runners import RunnerProcess, ended, output, spawn, token_for, usable
from tests.support.sidecars import until

from cco_sidecar.testing.process import SidecarProcess

_BOTH_TRANSPORTS = """
import os, urllib.request
from cco_sidecar.client import Client
request = urllib.request.Request(os.environ["SIDECAR_URL"] + "/agents/" + os.environ["AGENT_ID"],
    headers={"Authorization": "Bearer " + open(os.environ["JWT_TOKEN_FILE"]).read().strip()})
print(urllib.request.urlopen(request).status)
with Client() as client:
    print(client.agents.get(os.environ["AGENT_ID"]).runner_id)
"""


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, root: Path, authorities: Pair) -> Iterator[SidecarProcess]:
    made = authorities.trusted.issue("server", "127.0.0.1")
    options = ("--tls-cert", made.cert, "--tls-key", made.key, "--tls-client-ca", authorities.trusted.cert)
    sidecar = SidecarProcess(tmp_path_factory.mktemp("tls") / "storage", root, *map(str, options))
    yield sidecar
    assert sidecar.stop() == ""


def join(home: Path, sidecar: SidecarProcess, root: Path, *options: object) -> RunnerProcess:
    url = f"https://127.0.0.1:{sidecar.port}"
    words = [str(each) for each in ("--project", root, *options)]
    return RunnerProcess(home, url, sidecar.target, *words, token=token_for(sidecar, "far"))


def test_its_agents_use_both_transports(secured: SidecarProcess, authorities: Pair, root: Path, tmp_path: Path) -> None:
    own = authorities.trusted.issue("runner")
    files = ("--ca", authorities.trusted.cert, "--cert", own.cert, "--key", own.key)
    runner = join(tmp_path / "runner", secured, root, *files)
    try:
        until(lambda: usable(secured, "far"), "the runner")
        agent_id = spawn(secured, [sys.executable, "-c", _BOTH_TRANSPORTS], "far")
        assert ended(secured, agent_id)["status"] == "completed"
        assert output(secured, agent_id) == "200\nfar\n"
    finally:
        assert runner.end() == ""


def test_a_server_that_cannot_be_trusted_is_told(
    secured: SidecarProcess, authorities: Pair, root: Path, tmp_path: Path
) -> None:
    runner = join(tmp_path / "runner", secured, root, "--ca", authorities.other.cert)
    assert runner.process.stderr is not None
    said = runner.process.stderr.readline()
    assert said.startswith("cannot reach a sidecar, retrying: ")
    runner.end()
    assert not usable(secured, "far")
