"""TLS on both ports: who gets in, with which certificate, and that a renewed certificate is used without a restart."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import requests
from tests.support.certificates import Issued, Pair
from tests.support.sidecars import Deployment, until, written

from cco_sidecar.client import Client, SidecarError
from cco_sidecar.client.tls import Tls as ClientTls
from cco_sidecar.core.certificates import expiry
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.rpc.tls import Tls
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import system_service_pb2, system_service_pb2_grpc


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("certificates"))


@dataclass(frozen=True)
class Case:
    """A server's certificate, what the client presents, and whether the connection comes about."""

    name: str
    server_ca: str = "trusted"
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    days: int = 30
    mutual: bool = False
    client_ca: str = ""
    client_days: int = 30
    accepted: bool = False


CASES = [
    Case("tls", accepted=True),
    Case("expired", days=-1),
    Case("wrong-host", hosts=("sidecar.example.com",)),
    Case("wrong-ca", server_ca="other"),
    Case("mtls", mutual=True, client_ca="trusted", accepted=True),
    Case("mtls-without-certificate", mutual=True),
    Case("mtls-of-another-ca", mutual=True, client_ca="other"),
    Case("mtls-expired", mutual=True, client_ca="trusted", client_days=-1),
    Case("certificate-that-nobody-asked-for", client_ca="trusted", accepted=True),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def presented(case: Case, authorities: Pair) -> Issued | None:
    if not case.client_ca:
        return None
    return getattr(authorities, case.client_ca).issue(f"client-{case.name}", days=case.client_days)


@pytest.fixture(scope="module")
def server(
    case: Case, authorities: Pair, tmp_path_factory: pytest.TempPathFactory, root: Path
) -> Iterator[SidecarProcess]:
    made = getattr(authorities, case.server_ca).issue(f"server-{case.name}", *case.hosts, days=case.days)
    options = ["--tls-cert", str(made.cert), "--tls-key", str(made.key)]
    if case.mutual:
        options += ["--tls-client-ca", str(authorities.trusted.cert)]
    running = SidecarProcess(tmp_path_factory.mktemp("tls") / "storage", root, *options)
    yield running
    said = running.stop()
    assert "has expired" in said if case.name == "expired" else said == ""


def _answers(call: object) -> bool:
    try:
        call()  # type: ignore[operator]
    except (requests.ConnectionError, grpc.RpcError, SidecarError):
        return False
    return True


def test_rest(case: Case, server: SidecarProcess, authorities: Pair, presented: Issued | None) -> None:
    cert = (str(presented.cert), str(presented.key)) if presented else None
    url = f"https://127.0.0.1:{server.port}/health"
    verify = str(authorities.trusted.cert)
    assert _answers(lambda: requests.get(url, verify=verify, cert=cert, timeout=10).raise_for_status()) == case.accepted


def test_grpc(case: Case, server: SidecarProcess, authorities: Pair, presented: Issued | None) -> None:
    key, chain = (presented.key.read_bytes(), presented.cert.read_bytes()) if presented else (None, None)
    credentials = grpc.ssl_channel_credentials(authorities.trusted.cert.read_bytes(), key, chain)
    with grpc.secure_channel(server.target, credentials) as channel:
        stub = system_service_pb2_grpc.SystemServiceStub(channel)
        assert _answers(lambda: stub.GetHealth(system_service_pb2.GetHealthRequest(), timeout=10)) == case.accepted


def test_the_sdk(case: Case, server: SidecarProcess, authorities: Pair, presented: Issued | None) -> None:
    files = {"cert_file": str(presented.cert), "key_file": str(presented.key)} if presented else {}
    client = Client(
        f"https://127.0.0.1:{server.port}",
        grpc_target=server.target,
        token=server.operator.token,
        ca_file=str(authorities.trusted.cert),
        connect_timeout=2,
        **files,
    )
    with client:
        assert _answers(client.health) == case.accepted


_REASONS = {
    "expired": "its certificate is not accepted: certificate has expired",
    "wrong-host": "IP address mismatch, certificate is not valid for '127.0.0.1'",
    "wrong-ca": "its certificate is not accepted: unable to get local issuer certificate",
    "mtls-without-certificate": "wants a client's certificate",
    "mtls-of-another-ca": "does not accept the certificate in",
    "mtls-expired": "does not accept the certificate in",
}


def test_why_there_is_no_connection(
    case: Case, server: SidecarProcess, authorities: Pair, presented: Issued | None
) -> None:
    cert, key = (str(presented.cert), str(presented.key)) if presented else (None, None)
    reason = ClientTls(str(authorities.trusted.cert), cert, key).problem(server.target)
    assert _REASONS[case.name] in reason if case.name in _REASONS else reason == ""


def test_a_clients_key_needs_its_certificate(authorities: Pair) -> None:
    key = str(authorities.trusted.issue("alone").key)
    with pytest.raises(SettingsError, match="needs its certificate: cert_file or SIDECAR_CERT_FILE"):
        ClientTls(None, None, key)
    with pytest.raises(SettingsError, match="needs its certificate"):
        ClientTls(None, None, None, {"SIDECAR_KEY_FILE": key})
    with pytest.raises(SettingsError, match=r"cannot read the TLS file .*nowhere.pem"):
        ClientTls("/nowhere.pem", None, None).credentials()
    other = str(authorities.trusted.issue("other-client").cert)
    with pytest.raises(SettingsError, match="is not the key of the certificate in"):
        ClientTls(None, other, key).credentials()
    with pytest.raises(SettingsError, match=r"expected a certificate in .* and its key in .*, in PEM format"):
        ClientTls(None, other, None).credentials()
    with pytest.raises(SettingsError, match="expected certificates in PEM format in"):
        ClientTls(key, None, None).credentials()


def test_programs_on_this_machine_need_no_certificate(server: SidecarProcess) -> None:
    """Agents, probes and a reverse proxy use the loopback addresses, whatever the certificate says."""
    assert requests.get(f"{server.url}/health", timeout=10).status_code == 200
    with grpc.insecure_channel(server.target) as channel:
        stub = system_service_pb2_grpc.SystemServiceStub(channel)
        assert stub.GetHealth(system_service_pb2.GetHealthRequest(), timeout=10).service == "orchestration-sidecar"


@pytest.fixture
def files(tmp_path: Path, authorities: Pair) -> Issued:
    made = authorities.trusted.issue("renewed", "127.0.0.1")
    files = Issued(tmp_path / "cert.pem", tmp_path / "key.pem")
    shutil.copy(made.cert, files.cert)
    shutil.copy(made.key, files.key)
    return files


def _serial(sidecar: SidecarProcess, authorities: Pair, port: int) -> str:
    context = ssl.create_default_context(cafile=authorities.trusted.cert)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
    ):
        return str((encrypted.getpeercert() or {})["serialNumber"])


def test_a_renewed_certificate_is_used_without_a_restart(
    files: Issued, authorities: Pair, deployment: Deployment, tmp_path: Path
) -> None:
    config = written(tmp_path / "config.json", server={"tls_cert": str(files.cert), "tls_key": str(files.key)})
    sidecar = deployment.start(config=config)
    ports = (sidecar.port, sidecar.grpc_port)
    before = [_serial(sidecar, authorities, port) for port in ports]
    # Half written: the former one stays.
    files.cert.write_text("-----BEGIN CERTIFICATE-----\n")
    log = sidecar.storage / "logs" / "orchestration.log"
    for port in ports:
        until(
            lambda port=port: (
                _serial(sidecar, authorities, port) in before
                and log.read_text().count("the former TLS certificate stays in use") > ports.index(port)
            ),
            "the complaint about the new certificate",
        )
    renewed = authorities.trusted.issue("renewed-again", "127.0.0.1")
    renewed.key.replace(files.key)
    renewed.cert.replace(files.cert)
    for port, former in zip(ports, before, strict=True):
        until(lambda port=port, former=former: _serial(sidecar, authorities, port) != former, "the new certificate")


def test_bytes_that_are_neither_get_no_answer(files: Issued, deployment: Deployment, tmp_path: Path) -> None:
    """A connection that says nothing, or garbage, does not hold others up."""
    sidecar = deployment.start(
        config=written(tmp_path / "config.json", server={"tls_cert": str(files.cert), "tls_key": str(files.key)})
    )
    silent = [socket.create_connection(("127.0.0.1", sidecar.port)) for _ in range(20)]
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=30) as broken:
        broken.sendall(b"\x16\x03\x01\x00\x05hello, this is no handshake")
        received = broken.recv(1024)
        # At most a TLS alert (RFC 8446, section 6).
        assert received[:1] in (b"", b"\x15")
    assert requests.get(f"{sidecar.url}/health", timeout=10).status_code == 200
    for connection in silent:
        connection.close()


# Runs in a network namespace of its own, with two addresses that stand for two machines.
_FAR = """
import sys, requests, socket
from pathlib import Path
import grpc
from cco_sidecar.testing.process import SidecarProcess, run_cco
from orchestra.v1 import system_service_pb2, system_service_pb2_grpc

storage, root, cert, key, ca, client_cert, client_key = sys.argv[1:]
def plain(port, said):
    with socket.socket() as far:
        far.settimeout(20)
        far.bind(("10.99.0.2", 0))
        far.connect(("10.99.0.1", port))
        far.sendall(said)
        return far.recv(1024).decode(errors="replace")

sidecar = SidecarProcess(
    Path(storage), Path(root), "--host", "0.0.0.0", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca, "--port", "4001"
)
print(plain(4001, b"GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n").splitlines()[-1])
print(repr(plain(4002, b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")))
pair = (client_cert, client_key)
print(requests.get("https://10.99.0.1:4001/health", verify=ca, cert=pair, timeout=10).json()["status"])
there = [("SIDECAR_URL", "https://10.99.0.1:4001"), ("SIDECAR_GRPC", "10.99.0.1:4002"), ("SIDECAR_CA_FILE", ca)]
print(run_cco(sidecar, "events", "list", environment=there).stderr.partition(";")[0])
there += [("SIDECAR_CERT_FILE", client_cert), ("SIDECAR_KEY_FILE", client_key)]
print(run_cco(sidecar, "events", "list", environment=there).stdout.strip())
print(requests.get("http://127.0.0.1:4001/health", timeout=10).json()["status"])
print(sidecar.stop() == "")
"""


def test_another_machine_needs_tls(tmp_path: Path, authorities: Pair, root: Path) -> None:
    namespace = ["unshare", "-Urn"]
    if shutil.which("ip") is None or subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs ip and user namespaces")
    made, client = authorities.trusted.issue("far", "10.99.0.1"), authorities.trusted.issue("far-client")
    script = tmp_path / "far.py"
    script.write_text(_FAR)
    arguments = [tmp_path / "storage", root, made.cert, made.key, authorities.trusted.cert, client.cert, client.key]
    setup = "ip link set lo up && ip addr add 10.99.0.1/32 dev lo && ip addr add 10.99.0.2/32 dev lo"
    done = subprocess.run(
        [*namespace, "sh", "-c", f'{setup} && exec "$@"', "sh", sys.executable, script, *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        '{"error":"invalid_request","message":"this port speaks TLS; use https://","code":"REQ_001"}',
        "''",
        "healthy",
        "cco: cannot connect to https://10.99.0.1:4001: the server hung up, as one does that wants a client's certificate "
        "(SIDECAR_CERT_FILE)",
        "no events",
        "healthy",
        "True",
    ], done.stderr


def _settings(tmp_path: Path, **more: object) -> Settings:
    return Settings(storage=tmp_path, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "cannot read .*nowhere.pem: No such file"),
        ("not-pem", "expected a certificate in .* and its key in .*, in PEM format"),
        ("wrong-key", "tls_key: .* is not the key of the certificate"),
        ("ca-not-pem", "tls_client_ca: .* has no CA certificates"),
        ("key-alone", "server.tls_key needs server.tls_cert"),
        ("required", "server.require_tls is set, and 0.0.0.0 is reachable from other machines"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, authorities: Pair, name: str, says: str) -> None:
    good, other = authorities.trusted.issue("good"), authorities.trusted.issue("another")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    given: dict[str, dict[str, object]] = {
        "missing": {"tls_cert": tmp_path / "nowhere.pem"},
        "not-pem": {"tls_cert": text, "tls_key": good.key},
        "wrong-key": {"tls_cert": good.cert, "tls_key": other.key},
        "ca-not-pem": {"tls_cert": good.cert, "tls_key": good.key, "tls_client_ca": text},
        "key-alone": {"tls_key": good.key},
        "required": {"require_tls": True, "host": "0.0.0.0"},
    }
    with pytest.raises(SettingsError, match=says):
        Tls.of(_settings(tmp_path, **given[name]), "h2")


def test_require_tls_lets_loopback_and_tls_be(tmp_path: Path, authorities: Pair) -> None:
    good = authorities.trusted.issue("good")
    assert Tls.of(_settings(tmp_path, require_tls=True), "h2") is None
    with_tls = _settings(tmp_path, require_tls=True, host="0.0.0.0", tls_cert=good.cert, tls_key=good.key)
    assert Tls.of(with_tls, "h2") is not None


def test_the_expiry_of_a_certificate(authorities: Pair) -> None:
    soon, gone = authorities.trusted.issue("soon", days=3), authorities.trusted.issue("gone", days=-3)
    assert 5.9 < (expiry(soon.cert) - expiry(gone.cert)).total_seconds() / 86400 < 6.1
