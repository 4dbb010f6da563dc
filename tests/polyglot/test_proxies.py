"""The examples of deploy/proxy, each in front of a sidecar: REST, server-sent events, WebSockets and gRPC over TLS."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import requests
import websockets.sync.client
from tests.support.certificates import Authority
from tests.support.clocked import free_ports
from tests.support.repositories import OURS
from tests.support.sidecars import fresh, until

from cco_sidecar.client import Client
from cco_sidecar.testing.process import Agent, SidecarProcess
from orchestra.v1 import event_service_pb2, event_service_pb2_grpc

pytestmark = pytest.mark.polyglot

PROXY = OURS / "deploy" / "proxy"


@dataclass
class Proxy:
    """A running proxy on ``port``, and the CA of its certificate."""

    port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _nginx(directory: Path, port: int, cert: Path, key: Path, sidecar: SidecarProcess) -> list[str]:
    text = (PROXY / "nginx.conf").read_text()
    text = _addressed(
        text, sidecar, {"/etc/ssl/sidecar.pem": cert, "/etc/ssl/sidecar.key": key, "listen 443": f"listen {port}"}
    )
    # Where a user other than root may write.
    text = text.replace("http {\n", f"http {{\n    access_log off;\n    {_temporary(directory)}\n", 1)
    config = directory / "nginx.conf"
    config.write_text(f"pid {directory}/nginx.pid;\nerror_log stderr;\n{text}")
    program = _program("nginx")
    checked = subprocess.run([program, "-t", "-c", config], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr
    return [program, "-c", str(config), "-g", "daemon off;"]


def _temporary(directory: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)


def _caddy(directory: Path, port: int, cert: Path, key: Path, sidecar: SidecarProcess) -> list[str]:
    text = (PROXY / "Caddyfile").read_text()
    site = f"https://127.0.0.1:{port} {{\n\ttls {cert} {key}"
    config = directory / "Caddyfile"
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    config.write_text(options + _addressed(text, sidecar, {"\nsidecar.example.com {": f"\n{site}"}))
    return [_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(config)]


def _envoy(directory: Path, port: int, cert: Path, key: Path, sidecar: SidecarProcess) -> list[str]:
    text = (PROXY / "envoy.yaml").read_text()
    changes = {
        "/etc/ssl/sidecar.pem": cert,
        "/etc/ssl/sidecar.key": key,
        "port_value: 443": f"port_value: {port}",
        "port_value: 3001": f"port_value: {sidecar.port}",
        "port_value: 3002": f"port_value: {sidecar.grpc_port}",
    }
    config = directory / "envoy.yaml"
    config.write_text(_replaced(text, changes))
    return [_program("envoy"), "-c", str(config)]


def _addressed(text: str, sidecar: SidecarProcess, changes: dict[str, object]) -> str:
    ports = {"127.0.0.1:3001": f"127.0.0.1:{sidecar.port}", "127.0.0.1:3002": f"127.0.0.1:{sidecar.grpc_port}"}
    return _replaced(text, ports | changes)


def _replaced(text: str, changes: dict[str, object]) -> str:
    for former, new in changes.items():
        assert text.count(former) == 1, former
        text = text.replace(former, str(new))
    return text


@pytest.fixture(scope="module", params=[_nginx, _caddy, _envoy], ids=["nginx", "caddy", "envoy"])
def proxy(
    request: pytest.FixtureRequest, sidecar: SidecarProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("proxy")
    authority = Authority(directory)
    made = authority.issue("proxy", "127.0.0.1", "localhost")
    port, _ = free_ports()
    command = request.param(directory, port, made.cert, made.key, sidecar)
    with open(directory / "output.txt", "w") as output:
        environment = {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    running = Proxy(port, authority.cert)

    def answers() -> bool:
        assert process.poll() is None, (directory / "output.txt").read_text()
        try:
            return requests.get(f"{running.url}/health", verify=str(authority.cert), timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        until(answers, "the proxy")
        yield running
    finally:
        # Caddy waits for open connections.
        process.kill()
        process.wait(timeout=30)


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(issue=fresh("issue"))


def _publish(proxy: Proxy, agent: Agent, event_type: str) -> str:
    answer = requests.post(
        f"{proxy.url}/api/events/{event_type}", headers=agent.headers, json={"topic": "testing"},
        verify=str(proxy.ca), timeout=30,
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    event_id: str = answer.json()["event_id"]
    return event_id


def test_rest(proxy: Proxy, agent: Agent) -> None:
    kind = fresh("kind")
    assert _publish(proxy, agent, kind)


def test_server_sent_events_arrive_at_once(proxy: Proxy, agent: Agent) -> None:
    kind = fresh("kind")
    headers = agent.headers | {"Accept": "text/event-stream"}
    url = f"{proxy.url}/api/events/stream/{kind}"
    with requests.get(url, headers=headers, verify=str(proxy.ca), stream=True, timeout=10) as streamed:
        lines = streamed.iter_lines()
        # The first batch says where the stream begins.
        next(lines)
        published = _publish(proxy, agent, kind)
        assert any(published in line.decode() for line, _ in zip(lines, range(20), strict=False))


def test_a_web_socket(proxy: Proxy, agent: Agent) -> None:
    kind = fresh("kind")
    context = ssl.create_default_context(cafile=proxy.ca)
    url = f"wss://127.0.0.1:{proxy.port}/api/events/stream/{kind}"
    with websockets.sync.client.connect(url, additional_headers=agent.headers, ssl=context) as connection:
        connection.recv(timeout=10)
        published = _publish(proxy, agent, kind)
        assert published in json.dumps(json.loads(connection.recv(timeout=10)))


def test_grpc(proxy: Proxy, agent: Agent) -> None:
    kind = fresh("kind")
    credentials = grpc.ssl_channel_credentials(proxy.ca.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{proxy.port}", credentials) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        stream = stub.Subscribe(event_service_pb2.SubscribeRequest(event_types=[kind]), metadata=agent.metadata)
        next(stream)
        request = event_service_pb2.PublishEventRequest(event_type=kind)
        published = stub.PublishEvent(request, metadata=agent.metadata, timeout=10)
        assert [event.event_id for event in next(stream).events] == [published.event_id]
        stream.cancel()


def test_the_sdk_on_the_one_port(proxy: Proxy, agent: Agent) -> None:
    with Client(proxy.url, grpc_target=f"127.0.0.1:{proxy.port}", token=agent.token, ca_file=str(proxy.ca)) as client:
        assert client.events.publish(fresh("kind")).event_id


@pytest.mark.parametrize("path", ["/status", "/metrics"])
def test_behind_a_proxy_everyone_needs_a_token(proxy: Proxy, path: str) -> None:
    assert requests.get(proxy.url + path, verify=str(proxy.ca), timeout=10).status_code == 401
