"""A private PostgreSQL: a Unix socket in its own directory, no TCP, nothing kept. Needs Debian's `postgresql`."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

# The server ends with the tests, even when they are killed; setpriv is part of util-linux.
_END_WITH_US = ["setpriv", "--pdeathsig", "INT", "--"] if shutil.which("setpriv") else []
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "512MB"}
_OPTIONS = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]


def programs() -> Path | None:
    """The directory of initdb and postgres: Debian keeps them off PATH, by version. None if not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in versions), key=lambda path: int(path.parent.name), default=None)


class Cluster:
    """A server with a data directory of its own. As a context manager it starts, and removes everything at the end.

    ``url``: its database `postgres`.
    """

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        # Not below tmp_path: only root may enter pytest's directories, and the path of a socket has at most 107 bytes.
        self._base = Path(tempfile.mkdtemp(prefix="cco-pg-", dir="/tmp"))
        self.url = f"postgresql://postgres@/postgres?host={self._base}"
        # postgres refuses to run as root; Debian's package has a user for it.
        self._run_as: dict[str, Any] = {"cwd": self._base, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
        if os.getuid() == 0:
            self._run_as |= {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(self._base, "postgres", "postgres")
        self._data = self._base / "data"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            initdb = [self._binaries / "initdb", "-D", self._data, *_OPTIONS]
            subprocess.run(initdb, check=True, capture_output=True, **self._run_as)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._base, ignore_errors=True)

    def start(self) -> None:
        settings = [part for name, value in _FAST.items() for part in ("-c", f"{name}={value}")]
        server = [self._binaries / "postgres", "-D", self._data, "-k", self._base, "-c", "listen_addresses=", *settings]
        log = self._base / "log"
        with log.open("ab") as output:
            command = [*_END_WITH_US, *server]
            self._server = subprocess.Popen(command, stdout=output, stderr=output, **self._run_as)
        _wait(self._server, self._data / "postmaster.pid", log)

    def kill(self) -> None:
        """Ends it like a crash: all of its processes at once."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(20)
        self._server = None

    def stop(self) -> None:
        """A fast shutdown, which ends the connections; then an immediate one if it does not finish."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGINT)
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(10)
        self._server = None


def database_of(url: str, name: str) -> str:
    """The URL of a database of that name, which is created if missing."""
    import psycopg

    # Database names have at most 63 bytes.
    short = f"cco_{hashlib.sha256(name.encode()).hexdigest()[:24]}"
    with psycopg.connect(url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (short,)).fetchone()
        if known is None:
            connection.execute(f'CREATE DATABASE "{short}"'.encode())
    return url.replace("/postgres?", f"/{short}?")


def _wait(server: subprocess.Popen[bytes], status: Path, log: Path) -> None:
    """Line 8 of postmaster.pid says `ready`."""
    end = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < end:
        lines = status.read_text().splitlines() if status.exists() else []
        if len(lines) > 7 and "ready" in lines[7]:
            return
        time.sleep(0.01)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
