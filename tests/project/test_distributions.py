"""cco-sidecar and cco-sidecar-client, built from the repository and installed as their users install them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

import pytest
from tests.support.repositories import OURS
from tests.support.sidecars import serving, small_repository

from cco_sidecar import __version__
from cco_sidecar.testing.process import SidecarProcess, agent_environment

# What an agent does with the SDK and, at the end, with a bare stub.
AGENT = """
import os
import grpc
from google.protobuf import __version__ as protobuf
from cco_sidecar.client import Client, NotFoundError
from orchestra.v1 import system_service_pb2, system_service_pb2_grpc

with Client() as client:
    print(client.context.get().agent_type)
    client.events.publish("architecture_defined", data={"choice": "event log"})
    print(next(iter(client.events.subscribe(event_types=["architecture_defined"], since="0"))).data)
    stored = client.results.create({"status": "success", "summary": "done"})
    print(client.results.get(stored.id).result["summary"])
    try:
        client.results.get("missing")
    except NotFoundError as problem:
        print(problem.code)
with grpc.insecure_channel(os.environ["SIDECAR_GRPC"]) as channel:
    health = system_service_pb2_grpc.SystemServiceStub(channel).GetHealth(system_service_pb2.GetHealthRequest())
    print(system_service_pb2.HealthStatus.Name(health.status))
print(grpc.__version__, protobuf)
"""


def _run(*command: str | Path, **more: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels, each built from its source archive, by name of the distribution."""
    dist = tmp_path_factory.mktemp("dist")
    for source in (OURS, OURS / "clients" / "python"):
        _run(sys.executable, "-m", "uv", "build", "-q", "--no-build-isolation", "-o", dist, source)
    return {wheel.name.split("-")[0]: wheel for wheel in dist.glob("*.whl")}


def _files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def _requirements(wheel: Path) -> tuple[str, list[str]]:
    """The version of a wheel, and what it depends on without extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    return metadata["Version"], [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]


def test_both_have_one_license_and_one_version(wheels: dict[str, Path]) -> None:
    assert (OURS / "LICENSE").read_bytes() == (OURS / "clients" / "python" / "LICENSE").read_bytes()
    assert {_requirements(wheel)[0] for wheel in wheels.values()} == {__version__}


def test_each_file_is_in_one_of_the_two(wheels: dict[str, Path]) -> None:
    product, client = _files(wheels["cco_sidecar"]), _files(wheels["cco_sidecar_client"])
    assert not product & client
    sources = {
        path.relative_to(base).as_posix()
        for base, package in ((OURS / "src", "cco_sidecar"), (OURS / "gen" / "python", "orchestra"))
        for path in (base / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert sources - product - client == set()
    assert {name.split("/")[1] for name in client if name.startswith("cco_sidecar/")} == {
        "__init__.py",
        "py.typed",
        "client",
        "core",
    }


def test_the_product_depends_on_its_own_release_of_the_client(wheels: dict[str, Path]) -> None:
    version, needed = _requirements(wheels["cco_sidecar"])
    client_version, client_needed = _requirements(wheels["cco_sidecar_client"])
    assert version == client_version
    assert f"cco-sidecar-client=={version}" in needed
    assert not [each for each in client_needed if each.startswith(("sqlalchemy", "uvicorn", "click", "pyjwt"))]


def test_a_copy_without_links_is_not_built(tmp_path: Path) -> None:
    """As unpacked from a zip archive."""
    copy = tmp_path / "python"
    copy.mkdir()
    for path in (OURS / "clients" / "python").iterdir():
        (copy / path.name).write_text(str(path.readlink()) if path.is_symlink() else path.read_text())
    command = [sys.executable, "-m", "uv", "build", "--wheel", "--no-build-isolation", "-o", tmp_path / "dist", copy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "src/cco_sidecar/client is missing" in done.stderr


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    base = tmp_path_factory.mktemp("distributions")
    with serving(base, small_repository(base / "root")) as running:
        yield running


@pytest.mark.parametrize("resolution", ["lowest", "highest"])
def test_the_client_works_alone(
    wheels: dict[str, Path], sidecar: SidecarProcess, tmp_path: Path, resolution: str
) -> None:
    uv = [sys.executable, "-m", "uv"]
    _run(*uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    options = ["--resolution", resolution, "--only-binary", ":all:", "--python", str(python)]
    _run(*uv, "pip", "install", "-q", *options, wheels["cco_sidecar_client"])
    environment = agent_environment(sidecar, sidecar.agent())
    lines = _run(python, "-W", "error", "-c", AGENT, env=environment, cwd=tmp_path).splitlines()
    assert lines[:-1] == [
        "python-specialist",
        "{'choice': 'event log'}",
        "done",
        "RES_001",
        "HEALTH_STATUS_HEALTHY",
    ]
    lowest = {each.split(">=")[0]: each.split(">=")[1] for each in _requirements(wheels["cco_sidecar_client"])[1]}
    expected = f"{lowest['grpcio']} {lowest['protobuf']}"
    assert (lines[-1] == expected) == (resolution == "lowest")
