"""Real NATS servers with JetStream, alone or as a cluster, that sync every message."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil
from tests.support.repositories import OURS
from tests.support.sidecars import until

# `make .tools/nats/.ready` builds it from the Go module proxy.
_BUILT = OURS / ".tools" / "nats" / "nats-server"


def program() -> str | None:
    return str(_BUILT) if _BUILT.exists() else shutil.which("nats-server")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def prefix_of(name: str) -> str:
    """Returns a prefix of streams for a sidecar of its own."""
    return f"t{hashlib.sha256(name.encode()).hexdigest()[:16]}"


class NatsServer:
    """One server. ``more``: lines of its configuration. ``routes``: the cluster ports of all servers of its cluster; none for a server that is alone."""

    def __init__(
        self,
        directory: Path,
        name: str = "n1",
        routes: Sequence[int] = (),
        route: int = 0,
        sync: str = "always",
        more: str = "",
        *,
        advertise: bool = True,
    ) -> None:
        self.directory, self.name = directory, name
        self.port, self.monitor = free_ports(2)
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "nats.conf"
        cluster = ""
        if routes:
            others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
            told = "" if advertise else ", no_advertise: true"
            cluster = f"cluster {{ name: test, listen: 127.0.0.1:{route}, routes: [{others}]{told} }}\n"
        self.config.write_text(
            f"server_name: {name}\nlisten: 127.0.0.1:{self.port}\nhttp: 127.0.0.1:{self.monitor}\n"
            f'jetstream {{ store_dir: "{directory}", sync_interval: {sync} }}\n{cluster}{more}'
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.monitor}"

    def start(self) -> None:
        found = program()
        assert found is not None
        log = (self.directory / "log.txt").open("ab")
        with log:
            self.process = subprocess.Popen(
                [found, "-c", str(self.config)], stdout=log, stderr=log, env=os.environ | {"GOMAXPROCS": "2"}
            )
        until(self._listens, "NATS to listen")

    def _listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.directory / "log.txt").read_text()
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        self._send(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        if self.process is not None:
            self._send(signal.SIGCONT)
            self._send(signal.SIGTERM)
            self._wait()

    def _send(self, number: signal.Signals) -> None:
        if self.process is not None and psutil.pid_exists(self.process.pid):
            self.process.send_signal(number)

    def _wait(self) -> None:
        assert self.process is not None
        self.process.wait(timeout=30)
        self.process = None


class NatsCluster:
    """Three servers. ``advertise``: they tell clients of each other."""

    def __init__(self, directory: Path, *, advertise: bool = True) -> None:
        routes = free_ports(3)
        self.servers = [
            NatsServer(directory / f"n{number}", f"n{number}", routes, route, advertise=advertise)
            for number, route in enumerate(routes, start=1)
        ]

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
