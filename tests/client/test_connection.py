"""Where the SDK connects, with which identity and protocol, and how it reports that nothing answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.support.sidecars import serving, small_repository

from cco_sidecar.client import AsyncClient, Client, discovery
from cco_sidecar.client.connection import CONNECT_SECONDS
from cco_sidecar.client.errors import error_of
from cco_sidecar.core import run_directory
from cco_sidecar.core.errors import Kind, SettingsError, SidecarError
from cco_sidecar.testing.process import SidecarProcess

NAMES = ("SIDECAR_GRPC", "SIDECAR_URL", "CCO_SIDECAR_PORT", "JWT_TOKEN", "JWT_TOKEN_FILE", "AGENT_TYPE", "ISSUE_ID")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    base = tmp_path_factory.mktemp("sdk")
    with serving(base, small_repository(base / "root")) as running:
        yield running


def test_identity_comes_from_the_token(sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = sidecar.agent("go-specialist", issue="issue-7", project="default")
    monkeypatch.setenv("AGENT_TYPE", "python-specialist")
    monkeypatch.setenv("ISSUE_ID", "another")
    with Client(sidecar.url, token=agent.token, grpc_target=sidecar.target) as client:
        assert (client.identity.agent_id, client.identity.agent_type) == (agent.id, "go-specialist")
        assert (client.identity.issue_id, client.identity.project_id) == ("issue-7", "default")
        stored = client.results.create({"status": "success", "decisions": ["x"]})
        assert stored.stored and client.context.get().issue_id == "issue-7"


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("named", ["SIDECAR_GRPC", "SIDECAR_URL", "CCO_SIDECAR_PORT"])
def test_a_failed_first_connection_says_where_and_why(
    listens: bool, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either nothing listens, or the listener never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    if not listens:
        server.close()
    value = {"SIDECAR_GRPC": f"127.0.0.1:{port}", "SIDECAR_URL": f"http://127.0.0.1:{port - 1}"}
    monkeypatch.setenv(named, value.get(named, str(port - 1)))
    started = time.monotonic()
    with Client(connect_timeout=0.5) as client, pytest.raises(SidecarError) as caught:
        client.health()
    server.close()
    assert time.monotonic() - started < 4
    assert f"127.0.0.1:{port}" in caught.value.message and named in caught.value.message


def test_a_subscription_that_never_connects_raises_too() -> None:
    with (
        Client(grpc_target="127.0.0.1:9", connect_timeout=0.5) as client,
        pytest.raises(SidecarError, match="no sidecar answers"),
    ):
        next(iter(client.events.subscribe()))


async def test_the_asynchronous_client_does_not_wait_forever_either() -> None:
    started = time.monotonic()
    async with AsyncClient(grpc_target="127.0.0.1:9") as client:
        with pytest.raises(SidecarError, match="no sidecar answers"):
            await client.health()
    assert time.monotonic() - started < CONNECT_SECONDS + 3


def test_the_configured_port_is_used(sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCO_SIDECAR_PORT", str(sidecar.port))
    with Client() as client:
        assert client.health().service == "orchestration-sidecar"


def test_the_only_sidecar_on_this_machine_is_found(sidecar: SidecarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [known for known in run_directory.running() if known.storage == str(sidecar.storage)]
    monkeypatch.setattr(run_directory, "running", lambda: iter(ours))
    with Client() as client:
        assert client.health().uptime_seconds >= 0
    assert discovery.find(None, None, {}).address == f"unix:{ours[0].socket}"


def test_of_several_sidecars_the_one_with_the_configured_or_default_storage_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(name: str) -> run_directory.Running:
        return run_directory.Running("http://127.0.0.1:1", "127.0.0.1:2", f"/{name}.sock", str(tmp_path / name), 1)

    monkeypatch.setattr(run_directory, "running", lambda: iter([at("one"), at("two"), at("three")]))
    monkeypatch.setattr(discovery, "default_places", lambda: [tmp_path / "two", tmp_path / "three"])
    configured = {"CCO_SIDECAR_STORAGE": str(tmp_path / "three")}
    assert discovery.find(None, None, {}).address == "unix:/two.sock"
    assert discovery.find(None, None, configured).address == "unix:/three.sock"
    # None of them is the configured one, which may be running without having been found.
    nowhere = discovery.find(None, None, {"CCO_SIDECAR_STORAGE": str(tmp_path / "four")})
    assert (nowhere.address, nowhere.named_by) == ("127.0.0.1:3002", "the default")


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "grpc_proxy", "all_proxy"])
def test_proxies_are_bypassed_for_loopback(sidecar: SidecarProcess, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Client(sidecar.url, grpc_target=sidecar.target) as client:
        assert client.health().service == "orchestration-sidecar"


@pytest.mark.parametrize("url", ["http://sidecar.example:3001", "http://192.0.2.1", "sidecar.example"])
def test_a_token_is_not_sent_to_another_machine_in_plain_text(url: str) -> None:
    with pytest.raises(SettingsError, match="without TLS"):
        Client(url, token="eyJ.e30.x")
    Client(url, token="eyJ.e30.x", insecure=True).close()
    Client(url).close()


@pytest.mark.parametrize("url", ["http://localhost:3001", "http://127.0.0.1:3001", "http://[::1]:3001"])
def test_a_token_may_be_sent_in_plain_text_on_this_machine(url: str) -> None:
    Client(url, token="eyJ.e30.x").close()


@pytest.mark.parametrize(
    ("url", "address"),
    [("https://sidecar.example", "sidecar.example:443"), ("https://sidecar.example:3001", "sidecar.example:3002")],
)
def test_https_uses_tls(url: str, address: str) -> None:
    target = discovery.find(url, None, {})
    assert (target.address, target.secure) == (address, True)


def test_nothing_is_sent_in_plain_text_over_https(tmp_path: Path) -> None:
    """The client's first bytes are a TLS handshake, and the token is not in them."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)
    port = server.getsockname()[1]
    client = Client(f"https://127.0.0.1:{port - 1}", token="eyJ.e30.the-token", connect_timeout=0.5)
    try:
        with pytest.raises(SidecarError):
            client.health()
        connection, _ = server.accept()
        with connection:
            heard = connection.recv(65536)
        assert heard[:1] == b"\x16" and b"the-token" not in heard
    finally:
        client.close()
        server.close()


@pytest.mark.parametrize("url", ["http:/127.0.0.1:3001", "", "http://", "ftp://x", "http://x:port", "http://[::1"])
def test_an_invalid_url_is_reported(url: str) -> None:
    with pytest.raises(SettingsError, match="invalid sidecar URL"):
        Client(url or "http://")


def test_a_deadline_is_reported_as_a_deadline() -> None:
    """When several error kinds share a gRPC code, the client picks the first."""

    class Late(grpc.RpcError):  # type: ignore[misc]
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.DEADLINE_EXCEEDED

        def details(self) -> str:
            return "late"

        def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
            return ()

    assert error_of(Late()).kind is Kind.DEADLINE_EXCEEDED
