"""A private PostgreSQL: a Unix socket in its own directory, no TCP, nothing kept. Needs Debian's `postgresql`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@contextlib.contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """The URL of its database `postgres`."""
    # Not below tmp_path: only root may enter pytest's directories, and the path of a socket has at most 107 bytes.
    base = Path(tempfile.mkdtemp(prefix="cco-pg-", dir="/tmp"))
    # postgres refuses to run as root; Debian's package has a user for it.
    user: dict[str, Any] = {}
    if os.getuid() == 0:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(base, "postgres", "postgres")
    data, log = base / "data", base / "log"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    try:
        initdb = [binaries / "initdb", "-D", data, *_OPTIONS]
        subprocess.run(initdb, check=True, capture_output=True, cwd=base, env=environment, **user)
        settings = [part for name, value in _FAST.items() for part in ("-c", f"{name}={value}")]
        command = [*_END_WITH_US, binaries / "postgres", "-D", data, "-k", base, "-c", "listen_addresses=", *settings]
        with log.open("wb") as output:
            server = subprocess.Popen(command, stdout=output, stderr=output, cwd=base, env=environment, **user)
        try:
            _wait(server, data / "postmaster.pid", log)
            yield f"postgresql://postgres@/postgres?host={base}"
        finally:
            # A fast shutdown, then an immediate one if it does not finish.
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)
                server.wait(10)
    finally:
        shutil.rmtree(base, ignore_errors=True)


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
