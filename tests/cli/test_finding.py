"""Which sidecar a command talks to, and who gets the operator's token: the user's own sidecar, and nobody else."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.clocked import free_ports
from tests.support.commands import fails, printed
from tests.support.sidecars import serving, small_repository

from cco_sidecar.core import run_directory
from cco_sidecar.testing.process import SidecarProcess, run_cco


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    base = tmp_path_factory.mktemp("own")
    one, other = free_ports()[0], free_ports()[0]
    with serving(base, small_repository(base / "root"), "--port", str(one), "--grpc-port", str(other)) as running:
        yield running


class Listener:
    """A program that took over a port and records everything it receives."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.heard = b""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.settimeout(2)
            with connection, contextlib.suppress(OSError):
                # The HTTP/2 preface of a server, so that the client continues.
                connection.sendall(b"\0\0\0\4\0\0\0\0\0")
                while data := connection.recv(65536):
                    self.heard += data

    def close(self) -> None:
        self._server.close()


def cco(storage: Path, port: int, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of a user who knows a storage and a port."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    ours = {"HOME": str(storage.parent), "CCO_SIDECAR_STORAGE": str(storage), "CCO_SIDECAR_PORT": str(port)}
    return subprocess.run(
        [sys.executable, "-m", "cco_sidecar.cli.main", *words],
        env=clean | ours | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_run_directory_names_the_running_sidecars(own: SidecarProcess) -> None:
    (known,) = [each for each in run_directory.running() if each.storage == str(own.storage)]
    assert (known.url, known.grpc) == (own.url, own.target) and known.pid == own.process.pid
    directory = Path(known.socket).parent
    assert directory.stat().st_mode & 0o777 == 0o700 and len(known.socket) < 108


def test_a_url_is_enough_whatever_the_grpc_port_is(own: SidecarProcess) -> None:
    assert printed(run_cco(own, "agent", "list", "--sidecar-url", own.url)).startswith("0 of")


def test_a_program_that_took_the_port_gets_no_token(tmp_path: Path, own: SidecarProcess) -> None:
    """The sidecar of the storage is no longer running, and another program listens on its port."""
    storage = tmp_path / "storage"
    storage.mkdir()
    for name in ("operator.token", "identity.key"):
        (storage / name).write_bytes((own.storage / name).read_bytes())
    token = (storage / "operator.token").read_text().strip()
    listener = Listener()
    try:
        done = cco(storage, listener.port - 1, "agent", "list")
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert token.encode() not in listener.heard and token[-40:].encode() not in listener.heard
    finally:
        listener.close()


def test_another_sidecar_on_the_port_gets_no_token_either(tmp_path: Path, own: SidecarProcess) -> None:
    """A real sidecar on another user's storage, which would answer any call."""
    storage = tmp_path / "storage"
    storage.mkdir()
    (storage / "operator.token").write_bytes((own.storage / "operator.token").read_bytes())
    (storage / "identity.key").write_bytes(b"another key")
    # Found by its port alone: no entry in the run directory announces it.
    port = int(own.target.rpartition(":")[2]) - 1
    done = cco(storage, port, "agent", "list", XDG_RUNTIME_DIR=str(tmp_path))
    fails(done, "is not the sidecar of")


def test_over_tcp_the_right_sidecar_is_recognised_by_its_key(tmp_path: Path, own: SidecarProcess) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    for name in ("operator.token", "identity.key"):
        (storage / name).write_bytes((own.storage / name).read_bytes())
    port = int(own.target.rpartition(":")[2]) - 1
    assert printed(cco(storage, port, "agent", "list")).startswith("0 of")


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "grpc_proxy"])
def test_a_proxy_is_not_used_on_this_machine(own: SidecarProcess, name: str) -> None:
    proxy = (name, "http://127.0.0.1:9")
    assert printed(run_cco(own, "agent", "list", environment=[proxy])).startswith("0 of")
    assert printed(run_cco(own, "agent", "list", "--sidecar-url", own.url, environment=[proxy])).startswith("0 of")


def test_a_removed_directory_is_named(own: SidecarProcess, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && exec "$0" -m cco_sidecar.cli.main --version'
    done: Any = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True, check=False)
    fails(done, "the current directory no longer exists")


def test_command_summaries_are_not_truncated(own: SidecarProcess) -> None:
    for words in (("--help",), ("agent", "--help"), ("daemon", "--help"), ("results", "--help")):
        assert "..." not in printed(run_cco(own, *words)).partition("Commands:")[2]


def test_a_storage_readable_by_others_is_made_private(tmp_path: Path) -> None:
    root = small_repository(tmp_path / "root")
    storage = tmp_path / "storage"
    storage.mkdir(mode=0o755)
    storage.chmod(0o755)
    with serving(tmp_path, root):
        assert storage.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can create another user's link")
def test_another_users_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "storage").symlink_to(tmp_path / "theirs")
    os.chown(tmp_path / "storage", 12345, 12345, follow_symlinks=False)
    done = cco(tmp_path / "storage", free_ports()[0], "orchestration-server", "--project-root", str(tmp_path))
    fails(done, "another user's symbolic link")
    assert not any((tmp_path / "theirs").iterdir())
