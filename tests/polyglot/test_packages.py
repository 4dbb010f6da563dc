"""What is published builds by itself: the protos with any protoc, the Go module, the npm package in both module systems."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.polyglot import published
from tests.support.repositories import OURS

from cco_sidecar import __version__
from cco_sidecar.testing.process import Agent, SidecarProcess

pytestmark = pytest.mark.polyglot

OFFLINE = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "GOFLAGS": "-mod=mod"}


@pytest.fixture(scope="module")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("protos")
    with tarfile.open(published.packages() / f"orchestra-protos-{__version__}.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    return directory / "orchestra-protos"


@pytest.mark.parametrize("language", ["cpp", "csharp", "java", "kotlin", "php", "python", "ruby"])
def test_protoc_compiles_the_protos_with_one_directory(protos: Path, tmp_path: Path, language: str) -> None:
    if shutil.which("protoc") is None:
        pytest.skip("protoc is not installed: apt-get install protobuf-compiler")
    if not _has_its_own_protos(tmp_path):
        pytest.skip("protoc does not have the protos that belong to it: apt-get install libprotobuf-dev")
    files = sorted(str(path) for path in protos.rglob("*.proto"))
    assert len(files) > 13
    published.run("protoc", "-I", str(protos), f"--{language}_out={tmp_path}", *files)
    assert any(path.is_file() for path in tmp_path.rglob("*"))


def _has_its_own_protos(directory: Path) -> bool:
    """Debian puts `google/protobuf/descriptor.proto` and others into a package of their own."""
    (directory / "uses.proto").write_text('syntax = "proto3"; import "google/protobuf/descriptor.proto";')
    command = ["protoc", "-I", directory, "-o", directory / "uses.binpb", directory / "uses.proto"]
    found = subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    for name in ("uses.proto", "uses.binpb"):
        (directory / name).unlink(missing_ok=True)
    return found


def test_buf_builds_a_checkout_without_a_network(tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    cache = {"BUF_CACHE_DIR": str(tmp_path / "cache")}
    published.run(
        str(OURS / ".tools/node_modules/.bin/buf"), "build", str(OURS), "-o", str(image), environment=OFFLINE | cache
    )
    assert image.stat().st_size > 10_000


def test_the_packages_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    published.run(sys.executable, str(OURS / "scripts" / "packages.py"), str(tmp_path))
    again = {path.relative_to(tmp_path): _digest(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert len(again) == 6
    assert again == {name: _digest(published.packages() / name) for name in again}


def test_the_distributions_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for source in (OURS / "clients" / "python", OURS):
        published.run(
            sys.executable, "-m", "uv", "build", "-q", "--no-build-isolation", "-o", str(tmp_path), str(source)
        )
    again = {path.name: _digest(path) for path in tmp_path.iterdir() if path.suffix in (".whl", ".gz")}
    assert len(again) == 4
    assert again == {name: _digest(published.packages() / name) for name in again}


def test_uvx_runs_the_command_from_the_wheels(tmp_path: Path) -> None:
    """As docs/quickstart.md says it; without the links of this checkout."""
    wheel = published.packages() / f"cco_sidecar-{__version__}-py3-none-any.whl"
    environment = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_CACHE_DIR": str(published.WORK / "uv")}
    command = [sys.executable, "-m", "uv", "tool", "run", "-q", "--find-links", str(published.packages())]
    said = published.run(*command, "--from", str(wheel), "cco", "--version", environment=environment)
    assert said == f"cco, version {__version__}\n"


def test_pipx_installs_the_command(tmp_path: Path) -> None:
    pipx = published.WORK / "pipx"
    if not (pipx / "bin" / "pipx").exists():
        published.run(sys.executable, "-m", "venv", str(pipx))
        published.run(str(pipx / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "pipx==1.8.0")
    environment = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    wheel = published.packages() / f"cco_sidecar-{__version__}-py3-none-any.whl"
    links = f"--pip-args=--find-links={published.packages()}"
    published.run(str(pipx / "bin" / "pipx"), "install", "--quiet", links, str(wheel), environment=environment)
    assert published.run(str(tmp_path / "bin" / "cco"), "--version") == f"cco, version {__version__}\n"


def test_the_bill_of_materials_names_every_dependency(tmp_path: Path) -> None:
    published.run("make", "-s", "-C", str(OURS), "sbom", f"SBOM={tmp_path / 'bill.json'}")
    bill = json.loads((tmp_path / "bill.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "cco-sidecar"
    locked = {
        line.split("==")[0]
        for line in (OURS / "requirements-run.lock").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    assert {component["name"] for component in bill["components"]} == locked


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_go_module_has_its_own_name_and_builds_from_a_clean_cache(tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    (tmp_path / "go.mod").write_text("module user\n\ngo 1.24.0\n")
    source = """package main

import (
	"fmt"

	orchestra "github.com/visiquate/cco/gen/go/orchestra/v1"
	"google.golang.org/protobuf/proto"
)

func main() {
	bytes, _ := proto.Marshal(&orchestra.PublishEventRequest{EventType: "tests_passing"})
	fmt.Println(len(bytes), orchestra.EventService_Subscribe_FullMethodName)
}
"""
    (tmp_path / "main.go").write_text(source)
    proxy = published.run("go", "env", "GOPROXY").strip()
    environment = {
        "GOPROXY": f"file://{published.packages()}/go,{proxy}",
        "GONOSUMDB": "github.com/visiquate",
        "GOMODCACHE": str(tmp_path / "cache"),
        "GOFLAGS": "-mod=mod -modcacherw",
    }
    said = published.run("sh", "-c", f"cd {tmp_path} && go mod tidy && go run .", environment=environment)
    assert said == "15 /orchestra.v1.EventService/Subscribe\n"


USER = """
import { create } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { createGrpcClient, errorStatus, serviceDefinition } from "@visiquate/cco-sidecar-client/grpc-js";
import { EventSchema, EventService } from "@visiquate/cco-sidecar-client/orchestra/v1/event_service";

const event = create(EventSchema, { eventType: "tests_passing", data: { n: 1 } });
const client = createGrpcClient(EventService, "127.0.0.1:1", credentials.createInsecure());
client.close();
const status: typeof errorStatus = errorStatus;
console.log(event.eventType, Object.keys(serviceDefinition(EventService)).length, typeof client.subscribe, typeof status);
"""


@pytest.mark.parametrize("kind", ["module", "commonjs"])
def test_the_npm_package_in_both_module_systems(kind: str, tmp_path: Path) -> None:
    """With all types checked, and no option that the package would ask for."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    archive = published.packages() / f"visiquate-cco-sidecar-client-{__version__}.tgz"
    (tmp_path / "package.json").write_text(
        json.dumps(
            {
                "name": "user",
                "type": kind,
                "dependencies": {
                    "@bufbuild/protobuf": "2.10.1",
                    "@grpc/grpc-js": "1.14.7",
                    "@types/node": "20.19.25",
                    "@visiquate/cco-sidecar-client": str(archive),
                    "typescript": "5.9.3",
                },
            }
        )
    )
    (tmp_path / "user.ts").write_text(USER)
    options = "--strict --target es2022 --module node16 --types node user.ts"
    install = "npm install --silent --no-audit --no-fund --no-package-lock"
    said = published.run("sh", "-c", f"cd {tmp_path} && {install} && npx tsc {options} && node user.js")
    assert said == "tests_passing 6 function function\n"


# What an agent did with the stubs of the last release.
EARLIER = """
import os
import grpc
from orchestra.v1 import context_service_pb2 as context, context_service_pb2_grpc as context_grpc
from orchestra.v1 import event_service_pb2 as event, event_service_pb2_grpc as event_grpc
from orchestra.v1 import result_service_pb2 as result, result_service_pb2_grpc as result_grpc

metadata = [("authorization", "Bearer " + os.environ["JWT_TOKEN"])]
with grpc.insecure_channel(os.environ["SIDECAR_GRPC"]) as channel:
    request = context.StreamContextRequest(issue_id=os.environ["ISSUE_ID"], agent_type=os.environ["AGENT_TYPE"])
    parts = list(context_grpc.ContextServiceStub(channel).StreamContext(request, metadata=metadata))
    print(parts[0].HasField("header"), parts[-1].HasField("trailer"))
    events = event_grpc.EventServiceStub(channel)
    published = events.PublishEvent(event.PublishEventRequest(event_type="tests_passing"), metadata=metadata)
    for batch in events.Subscribe(event.SubscribeRequest(since="0"), metadata=metadata):
        if published.event_id in [each.event_id for each in batch.events]:
            print("received")
            break
    body = result.AgentResult(status=result.RESULT_STATUS_SUCCESS, decisions=["JWT"])
    results = result_grpc.ResultServiceStub(channel)
    stored = results.CreateResult(result.CreateResultRequest(result=body), metadata=metadata)
    print(results.GetResult(result.GetResultRequest(id=stored.id), metadata=metadata).result.result.decisions)
"""


def test_the_stubs_of_the_last_release_work_with_this_sidecar(
    tmp_path: Path, sidecar: SidecarProcess, agent: Agent
) -> None:
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    baseline = OURS / "gen" / "baseline.binpb"
    names = ["options", *(f"{name}_service" for name in ("agent", "context", "event", "result"))]
    published.run(
        sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={baseline}",
        f"--python_out={stubs}", f"--grpc_python_out={stubs}", *(f"orchestra/v1/{name}.proto" for name in names),
    )  # fmt: skip
    script = tmp_path / "agent.py"
    script.write_text(EARLIER)
    environment = {
        "PYTHONPATH": str(stubs),
        "SIDECAR_GRPC": sidecar.target,
        "JWT_TOKEN": agent.token,
        "ISSUE_ID": agent.issue,
        "AGENT_TYPE": agent.type,
        "PATH": os.environ["PATH"],
    }
    said = published.run(sys.executable, "-P", str(script), environment=environment)
    assert said == "True True\nreceived\n['JWT']\n"
