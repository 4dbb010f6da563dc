"""The files of TLS: which change is seen, and what cannot be used."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.certificates import Issued, Pair

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.rpc import tls
from cco_sidecar.rpc.tls import Tls


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def files(tmp_path: Path, authorities: Pair) -> Issued:
    made = authorities.trusted.issue("server", "127.0.0.1")
    return Issued(
        Path(shutil.copy(made.cert, tmp_path / "cert.pem")), Path(shutil.copy(made.key, tmp_path / "key.pem"))
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are looked at for each connection."""
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0)


def replaced(path: Path, content: bytes) -> None:
    """In place, with the same time of change: as a copy that keeps it does."""
    info = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.mark.parametrize("which", ["cert", "key", "client_ca"])
def test_a_change_of_any_file_is_seen(files: Issued, authorities: Pair, tmp_path: Path, which: str) -> None:
    ca = Path(shutil.copy(authorities.trusted.cert, tmp_path / "ca.pem"))
    port = Tls(files.cert, files.key, ca, "h2")
    before = port.context()
    assert port.context() is before
    path = {"cert": files.cert, "key": files.key, "client_ca": ca}[which]
    # The same content in other words.
    replaced(path, b"\n" + path.read_bytes())
    assert port.context() is not before


def test_what_cannot_be_used_is_not_taken(files: Issued, authorities: Pair, caplog: pytest.LogCaptureFixture) -> None:
    port = Tls(files.cert, files.key, None, "h2")
    before = port.context()
    other = authorities.trusted.issue("other", "127.0.0.1")
    replaced(files.cert, other.cert.read_bytes())
    assert port.context() is before and "is not the key of the certificate" in caplog.text
    files.key.write_bytes(other.key.read_bytes())
    assert port.context() is not before


def test_a_pipe_is_not_waited_for(files: Issued, caplog: pytest.LogCaptureFixture) -> None:
    port = Tls(files.cert, files.key, None, "h2")
    before = port.context()
    files.key.unlink()
    os.mkfifo(files.key)
    assert port.context() is before and "expected a regular file" in caplog.text


def test_an_intermediate_authority_may_be_the_one_that_counts(files: Issued, authorities: Pair) -> None:
    context = Tls(files.cert, files.key, authorities.trusted.cert, "h2").context()
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN and context.verify_mode == ssl.CERT_REQUIRED


def _encrypt(files: Issued) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    best = serialization.BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, best))


def _remove(files: Issued) -> None:
    files.key.unlink()


@pytest.mark.parametrize(("spoil", "says"), [(_encrypt, "is encrypted; store it without"), (_remove, "cannot read")])
def test_a_key_that_cannot_be_used_is_named(files: Issued, spoil: Callable[[Issued], None], says: str) -> None:
    spoil(files)
    with pytest.raises(SettingsError, match=says):
        Tls(files.cert, files.key, None, "h2")


def test_an_authority_needs_a_certificate(tmp_path: Path, authorities: Pair) -> None:
    with pytest.raises(SettingsError, match=r"server\.tls_client_ca needs server\.tls_cert"):
        Tls.of(Settings(storage=tmp_path, tls_client_ca=authorities.trusted.cert), "h2")
