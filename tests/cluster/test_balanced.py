"""Two sidecars behind the load balancer of deploy/proxy, and the other files that start several."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from tests.support.nats import free_ports, program
from tests.support.repositories import OURS
from tests.support.sidecars import fresh, until
from tests.support.team import Team, cluster_of, id_of, leader_of

from cco_sidecar.client import Client
from cco_sidecar.core.settings import ENVIRONMENT, SETTING_NAMES

pytestmark = pytest.mark.cluster

DEPLOY = OURS / "deploy"


@pytest.fixture
def team(tmp_path: Path, root: Path, postgres_url: str, nats_url: str) -> Iterator[Team]:
    made = Team(tmp_path, root, postgres_url, nats_url)
    made.start("one")
    made.start("two")
    leader_of(made.running[1])
    yield made
    made.stop()


@pytest.fixture
def balancer(team: Team, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of REST, and the target of gRPC."""
    found = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if found is None:
        pytest.skip("HAProxy is not installed: apt-get install haproxy")
    rest, grpc = free_ports(2)
    text = (DEPLOY / "proxy" / "haproxy.cfg").read_text()
    for machine, sidecar in zip(("10.0.0.6", "10.0.0.7"), team.running, strict=True):
        text = text.replace(f"{machine}:3002 port 3001", f"127.0.0.1:{sidecar.grpc_port} port {sidecar.port}")
        text = text.replace(f"{machine}:3001", f"127.0.0.1:{sidecar.port}")
        text = text.replace(f"{machine}:3002", f"127.0.0.1:{sidecar.grpc_port}")
    text = text.replace("bind :3001", f"bind 127.0.0.1:{rest}").replace("bind :3002", f"bind 127.0.0.1:{grpc}")
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    running = subprocess.Popen([found, "-db", "-f", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        until(lambda: _listens(rest) and _listens(grpc), "HAProxy")
        yield f"http://127.0.0.1:{rest}", f"127.0.0.1:{grpc}"
    finally:
        running.terminate()
        running.communicate(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_any_sidecar_answers_and_one_may_go(team: Team, balancer: tuple[str, str]) -> None:
    rest, grpc = balancer
    first, second = team.running
    headers = first.operator.headers
    assert requests.get(f"{rest}/status", timeout=10).status_code == 401, "HAProxy is no caller on this machine"
    project = fresh("project")
    client = Client(rest, token=first.operator.token, grpc_target=grpc)
    try:
        seen = {
            requests.get(f"{rest}/status", headers=headers, timeout=10).json()["cluster"]["sidecar_id"]
            for _ in "123456"
        }
        assert seen == {id_of(first), id_of(second)}
        sent = [client.events.publish("built", {"n": number}, project_id=project) for number in range(3)]
        following = client.events.subscribe(project_id=project, since=sent[0].event_id)
        got = [next(following).data["n"] for _ in range(2)]
        first.kill()
        until(lambda: cluster_of(second)["leader_id"] == id_of(second), "another leader", 30)
        client.events.publish("built", {"n": 3}, project_id=project)
        assert [*got, next(following).data["n"]] == [1, 2, 3], "across the sidecar that was killed"
        assert requests.get(f"{rest}/health", timeout=10).status_code == 200
    finally:
        client.close()


def test_the_servers_of_nats_take_their_configuration(tmp_path: Path) -> None:
    found = program()
    if found is None:
        pytest.skip("nats-server is not installed: make .tools/nats/.ready")
    config = tmp_path / "nats.conf"
    config.write_text((DEPLOY / "container" / "nats.conf").read_text().replace("/data", str(tmp_path)))
    done = subprocess.run([found, "-t", "-c", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_files_name_what_there_is() -> None:
    compose = yaml.safe_load((DEPLOY / "container" / "compose-cluster.yaml").read_text())
    named = {part for each in compose["services"].values() for part in each.get("volumes", ())}
    for volume in named:
        source = volume.partition(":")[0]
        assert source in compose["volumes"] or source.startswith("$") or (DEPLOY / "container" / source).exists(), (
            volume
        )
    cluster = DEPLOY / "kubernetes" / "cluster"
    kustomization = yaml.safe_load((cluster / "kustomization.yaml").read_text())
    for name in [*kustomization["resources"], *(each["path"] for each in kustomization["patches"])]:
        assert (cluster / name).exists(), name
    texts = [(DEPLOY / "container" / "compose-cluster.yaml").read_text(), (cluster / "sidecar.yaml").read_text()]
    known = {f"{ENVIRONMENT}{name.upper()}" for name in SETTING_NAMES}
    for text in texts:
        assert set(re.findall(r"CCO_SIDECAR_\w+", text)) <= known
