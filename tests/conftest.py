"""Fixtures for the whole suite: a real sidecar, its agents, its stubs."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from tests.support import nats, postgres
from tests.support.receivers import LOCAL
from tests.support.repositories import clone_of_ours
from tests.support.sidecars import Deployment, fresh, serving, small_repository

from cco_sidecar.testing.process import Agent, SidecarProcess


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", action="store_true", help="sidecars keep their records in PostgreSQL")
    parser.addoption("--nats", action="store_true", help="sidecars keep their events in NATS JetStream")
    parser.addoption("--fast", action="store_true", help="skip each test that starts a process")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast"):
        sys.addaudithook(_refuse_processes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


# The test that runs. Between tests, pytest-xdist may start its workers.
_running: list[pytest.Item] = []


def _refuse_processes(event: str, _: object) -> None:
    # No list of fast tests can get out of date: a test is skipped when it tries.
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn") and _running:
        pytest.skip("starts a process")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.Cluster(binaries) as cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if nats.program() is None:
        pytest.skip("nats-server is not installed: make .tools/nats/.ready")
    server = nats.NatsServer(tmp_path_factory.mktemp("nats"))
    yield server.url
    server.stop()


@pytest.fixture(scope="session", autouse=True)
def backends(request: pytest.FixtureRequest) -> None:
    """With ``--postgres`` every sidecar gets a database of its own, with ``--nats`` streams of its own."""
    database = request.getfixturevalue("postgres_url") if request.config.getoption("--postgres") else ""
    bus = request.getfixturevalue("nats_url") if request.config.getoption("--nats") else ""

    def backends_of(storage: Path) -> dict[str, str]:
        place = str(storage.resolve())
        records = {"CCO_SIDECAR_DATABASE_URL": postgres.database_of(database, place)} if database else {}
        events = {"CCO_SIDECAR_BUS_URL": bus, "CCO_SIDECAR_BUS_PREFIX": nats.prefix_of(place)} if bus else {}
        return records | events

    if database or bus:
        SidecarProcess.backends_of = staticmethod(backends_of)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone_of_ours(tmp_path_factory.mktemp("clone") / "repository")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository whose contexts are built instantly."""
    return small_repository(tmp_path_factory.mktemp("root") / "repository")


@pytest.fixture
def project() -> str:
    return fresh("project")


@pytest.fixture
def deployment(tmp_path: Path, root: Path) -> Iterator[Deployment]:
    """For tests that need their own sidecar, or several."""
    made = Deployment(tmp_path, root)
    yield made
    assert made.stop() == ""


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[SidecarProcess]:
    with serving(tmp_path_factory.mktemp("sidecar"), repository, environment=LOCAL) as running:
        yield running


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent()


# pytest-grpc's fixtures on the real server: its own in-process fake does not support current stubs.


@pytest.fixture(scope="module")
def grpc_addr(sidecar: SidecarProcess) -> str:
    return sidecar.target


@pytest.fixture(scope="module")
def grpc_server(sidecar: SidecarProcess) -> SidecarProcess:
    return sidecar


@pytest.fixture(scope="module")
def grpc_channel(grpc_addr: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_addr) as channel:
        yield channel


@pytest.fixture(scope="module")
def stubs(grpc_channel: grpc.Channel) -> Any:
    """A stub for every service."""
    from orchestra.v1 import (
        agent_service_pb2_grpc,
        context_service_pb2_grpc,
        event_service_pb2_grpc,
        result_service_pb2_grpc,
        system_service_pb2_grpc,
    )

    return SimpleNamespace(
        context=context_service_pb2_grpc.ContextServiceStub(grpc_channel),
        events=event_service_pb2_grpc.EventServiceStub(grpc_channel),
        results=result_service_pb2_grpc.ResultServiceStub(grpc_channel),
        agents=agent_service_pb2_grpc.AgentServiceStub(grpc_channel),
        system=system_service_pb2_grpc.SystemServiceStub(grpc_channel),
    )
