"""The steps of the Containerfile, replayed in a plain directory, and what deploy/ says to the tools that read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.polyglot import published
from tests.support.repositories import OURS

from cco_sidecar import __version__

pytestmark = pytest.mark.polyglot

CONTAINERFILE = OURS / "deploy" / "container" / "Containerfile"


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", CONTAINERFILE.read_text())
    found: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest))
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build stage makes of the files that it gets; its directories are below this one."""
    top = tmp_path_factory.mktemp("image")
    source = top / "source"
    source.mkdir()
    listed = published.run("git", "-C", str(OURS), "ls-files", "-z").split("\0")
    for instruction, rest in stages()[0]:
        command = rest.replace("/opt/cco", f"{top}/opt/cco").replace("python -m venv", f"{sys.executable} -m venv")
        if instruction == "COPY" and rest != ". .":
            for name in rest.split()[:-1]:
                shutil.copy(OURS / name, source / name)
        elif instruction == "COPY":
            for name in filter(None, listed):
                target = source / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    shutil.copy2(OURS / name, target, follow_symlinks=False)
        elif instruction == "RUN":
            published.run("sh", "-ec", f"cd {source} && {command}")
    return top


def test_the_image_has_a_sidecar_and_no_installer(image: Path) -> None:
    cco = image / "opt" / "cco" / "bin" / "cco"
    assert published.run(str(cco), "--version") == f"cco, version {__version__}\n"
    assert not (image / "opt" / "cco" / "bin" / "pip").exists()
    # Nothing of the source is needed any more.
    source = image / "source"
    source.rename(image / "gone")
    try:
        assert "--tls-cert" in published.run(str(cco), "orchestration-server", "--help")
        told = published.run(str(cco), "config", "show", "--all", "--format", "json", environment={"HOME": str(image)})
        assert json.loads(told)
    finally:
        (image / "gone").rename(source)


def test_the_image_runs_as_another_user_and_is_probed() -> None:
    last = dict(stages()[-1])
    assert last["USER"] == "10001" and last["CMD"] == '["cco", "orchestration-server"]'
    assert "CMD" in last["HEALTHCHECK"] and last["EXPOSE"] == "3000 3001 3002"
    names = [instruction for instruction, _ in stages()[-1]]
    assert names.index("USER") > max(number for number, name in enumerate(names) if name == "RUN")


def test_hadolint_accepts_the_containerfile() -> None:
    published.run(sys.executable.replace("python", "hadolint"), str(CONTAINERFILE))


@pytest.fixture(scope="module")
def read() -> Callable[[str, str], list[dict[str, Any]]]:
    """Reads a file of deploy/ with Kubernetes' and Compose's own code, which refuses what they do not know."""
    if shutil.which("go") is None:
        pytest.skip("not installed: go")
    directory = published.WORK / "manifests"
    shutil.copytree(OURS / "tests" / "polyglot" / "manifests", directory, dirs_exist_ok=True)
    published.run("go", "build", "-C", str(directory), "-o", "manifests", ".")

    def reading(kind: str, place: str) -> list[dict[str, Any]]:
        return list(
            filter(
                None,
                yaml.safe_load_all(
                    published.run(
                        str(directory / "manifests"), kind, str(OURS / place), environment={"CCO_SECRET": "s3cr3t"}
                    )
                ),
            )
        )

    return reading


def test_compose_accepts_its_file(read: Callable[[str, str], list[dict[str, Any]]]) -> None:
    (project,) = read("compose", "deploy/container/compose.yaml")
    service = project["services"]["sidecar"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["command"] == ["cco", "daemon", "start"]
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}


def test_compose_accepts_the_file_of_a_cluster(read: Callable[[str, str], list[dict[str, Any]]]) -> None:
    (project,) = read("compose", "deploy/container/compose-cluster.yaml")
    sidecars = [each for each in project["services"].values() if each.get("image") == "cco"]
    assert len(sidecars) == 2 and len({each["hostname"] for each in sidecars}) == 2
    for each in sidecars:
        assert each["environment"]["CCO_SIDECAR_JWT_SECRET"] == "s3cr3t" and each["read_only"]
        assert "s3cr3t@postgres" in each["environment"]["CCO_SIDECAR_DATABASE_URL"]
    published_ports = [port for each in project["services"].values() for port in each.get("ports", ())]
    assert {port["host_ip"] for port in published_ports} == {"127.0.0.1"}


def test_kubernetes_gets_two_sidecars_that_reach_each_other(read: Callable[[str, str], list[dict[str, Any]]]) -> None:
    documents = read("kubernetes", "deploy/kubernetes/cluster")
    (sidecars,) = [each for each in documents if each["kind"] == "StatefulSet"]
    assert sidecars["spec"]["replicas"] == 2 and sidecars["spec"]["serviceName"] == "orchestration-sidecar-peers"
    (container,) = sidecars["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each for each in container["env"]}
    assert environment["CCO_SIDECAR_CLUSTER_ADDRESS"]["value"] == "$(POD).orchestration-sidecar-peers:3002"
    names = [each["name"] for each in container["env"]]
    assert names.index("POD") < names.index("CCO_SIDECAR_CLUSTER_ADDRESS"), "Kubernetes fills in what is before"
    secret = {environment[name]["valueFrom"]["secretKeyRef"]["key"] for name in environment if "URL" in name}
    assert secret == {"database-url", "bus-url"} and "CCO_SIDECAR_STORAGE" in environment
    peers = next(
        each for each in documents if each["metadata"]["name"].endswith("-peers") and each["kind"] == "Service"
    )
    assert peers["spec"]["clusterIP"] == "None" and peers["spec"]["publishNotReadyAddresses"]


@pytest.mark.parametrize("variant", ["base", "tls"])
def test_kubernetes_gets_a_pod_without_rights(read: Callable[[str, str], list[dict[str, Any]]], variant: str) -> None:
    documents = read("kubernetes", f"deploy/kubernetes/{variant}")
    by_kind = {document["kind"]: document for document in documents}
    assert by_kind["StatefulSet"]["spec"]["replicas"] == 1
    pod = by_kind["StatefulSet"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] and not pod["spec"]["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    probe = {"grpc": {"port": 3002}} if variant == "base" else {"exec": {"command": ["cco", "health"]}}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert {key: value for key, value in container[name].items() if key in ("grpc", "exec")} == probe
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    made = {volume["name"] for volume in pod["spec"]["volumes"]}
    made |= {claim["metadata"]["name"] for claim in by_kind["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert set(mounted) == made
    # The root of a volume belongs to root, and a storage must not.
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert Path(environment["CCO_SIDECAR_STORAGE"]).parent == Path(mounted["storage"])
    assert by_kind["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert all(port["targetPort"] in ports for port in by_kind["Service"]["spec"]["ports"])
    (ingress,) = by_kind["NetworkPolicy"]["spec"]["ingress"]
    assert {port["port"] for port in ingress["ports"]} == set(ports) and ("from" in ingress) == (variant == "base")
    # The options are options of the command.
    command = [sys.executable, "-m", "cco_sidecar.cli.main", *container["args"][1:], "--help"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    units = {
        file.name: file.read_text().replace("/opt/cco/bin/cco", "/bin/true")
        for file in (OURS / "deploy" / "systemd").iterdir()
    }
    assert len(units) == 2
    printed = published.run(sys.executable, "-m", "cco_sidecar.cli.main", "daemon", "install", "--print")
    for name, text in (units | {"user.service": printed}).items():
        file = tmp_path / name
        file.write_text(re.sub(r"(User|Group)=cco.*", r"\1=root", text))
        done = subprocess.run(
            ["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 and name not in done.stderr, done.stderr
