"""The servers that `bench.events` compares, each in processes of its own on free ports.

`make bench-events` installs what it can; a peer that is not installed is skipped by name.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop
from bench.event_clients import SUBJECT
from bench.ports import free_port, wait_for_port

from cco_sidecar.client import Client
from cco_sidecar.testing.process import SidecarProcess

TOOLS = Path(__file__).resolve().parents[1] / ".build" / "event-peers"
_AGENTS = 119
_TYPE = "terraform-specialist"
_UNLIMITED = {"agents": {"rate_limits": {"coding_specialists": 10_000_000}}}


@dataclass
class Running:
    """A peer's server. ``address`` is what its clients need; ``stop`` ends it."""

    pid: int
    address: dict[str, Any]
    stop: Callable[[], object]


@dataclass(frozen=True)
class Peer:
    """``kind`` names its clients; ``durable`` is what it promises about an acknowledged event."""

    name: str
    kind: str
    durable: str
    start: Callable[[Path], Running]
    needs: Callable[[], object]
    python: str = field(default_factory=lambda: str(TOOLS / "bin" / "python"))

    @property
    def installed(self) -> bool:
        return bool(self.needs())


def _process(command: list[str], address: dict[str, Any], port: int, **more: Any) -> Running:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    wait_for_port(port)

    def stop() -> None:
        process.kill()
        process.wait()

    return Running(process.pid, address, stop)


def _sidecar(directory: Path, *options: str) -> Running:
    root = directory / "repository"
    root.mkdir()
    config = directory / "config.json"
    config.write_text(json.dumps(_UNLIMITED))
    sidecar = SidecarProcess(directory / "storage", root, *options, config=config)
    agents = [sidecar.agent(_TYPE, issue=f"i-{n}", ttl_seconds=86_400) for n in range(_AGENTS)]
    with Client(sidecar.url, token=agents[0].token, grpc_target=sidecar.target) as client:
        client.events.publish("ready", {"project": "alpha"}, topic=SUBJECT)
    address = {
        "url": sidecar.url,
        "grpc": sidecar.target,
        "tokens": [agent.token for agent in agents],
        "filter": "project:alpha",
    }
    return Running(sidecar.process.pid, address, sidecar.kill)


def _grpc(directory: Path) -> Running:
    port = free_port()
    command = [sys.executable, "-m", "bench.event_peers", str(port)]
    return _process(command, {"grpc": f"127.0.0.1:{port}"}, port)


def _nats(settings: str) -> Callable[[Path], Running]:
    def start(directory: Path) -> Running:
        port = free_port()
        config = directory / "nats.conf"
        config.write_text(f"host: 127.0.0.1\nport: {port}\n" + settings.replace("DIRECTORY", str(directory)))
        running = _process([_nats_server(), "-c", str(config)], {"url": f"nats://127.0.0.1:{port}"}, port)
        if settings:
            command = [str(TOOLS / "bin" / "python"), "-c", _ADD_STREAM, running.address["url"], SUBJECT]
            subprocess.run(command, check=True)
        return running

    return start


def _sidecar_on_nats(directory: Path) -> Running:
    """The CPU time is that of the sidecar alone."""
    server = _nats(_STREAM % "  sync_interval: always\n")(directory)
    sidecar = _sidecar(directory, "--bus-url", server.address["url"])

    def stop() -> None:
        sidecar.stop()
        server.stop()

    return Running(sidecar.pid, sidecar.address, stop)


_ADD_STREAM = """
import asyncio, sys, nats
from nats.js.api import StorageType
async def main():
    connection = await nats.connect(sys.argv[1])
    await connection.jetstream().add_stream(name="tasks", subjects=[sys.argv[2]], storage=StorageType.FILE)
    await connection.close()
asyncio.run(main())
"""


def _nats_server() -> str:
    own = TOOLS / "bin" / "nats-server"
    return str(own) if own.exists() else shutil.which("nats-server") or ""


def _redis(*options: str) -> Callable[[Path], Running]:
    def start(directory: Path) -> Running:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        return _process([*command, *options], {"port": port}, port)

    return start


def _etcd(directory: Path) -> Running:
    port, peers = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"]
    command = ["etcd", "--data-dir", str(directory / "etcd"), "--listen-client-urls", urls[0],
               "--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1],
               "--initial-advertise-peer-urls", urls[1], "--initial-cluster", f"default={urls[1]}"]  # fmt: skip
    return _process(command, {"port": port}, port, env=os.environ | {"ETCD_UNSUPPORTED_ARCH": "arm64"})


_AUTOGEN_HOST = """
import asyncio, sys
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntimeHost
async def main():
    host = GrpcWorkerAgentRuntimeHost(sys.argv[1])
    host.start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


def _autogen(directory: Path) -> Running:
    port = free_port()
    target = f"127.0.0.1:{port}"
    return _process([str(_AUTOGEN / "bin" / "python"), "-c", _AUTOGEN_HOST, target], {"grpc": target}, port)


_AUTOGEN = TOOLS.with_name("event-peers-autogen")
_STREAM = "jetstream {\n  store_dir: DIRECTORY\n%s}\n"
_HERE = sys.executable

PEERS = [
    Peer("sidecar", "sidecar", "fdatasync before the acknowledgement", _sidecar, lambda: True, _HERE),
    Peer("sidecar on JetStream", "sidecar", "fsync before the acknowledgement", _sidecar_on_nats, _nats_server, _HERE),
    Peer("grpc.aio, bare", "grpc", "none", _grpc, lambda: True, _HERE),
    Peer("NATS", "nats", "none", _nats(""), _nats_server),
    Peer("JetStream", "jetstream", "written; fsync every two minutes", _nats(_STREAM % ""), _nats_server),
    Peer(
        "JetStream, always",
        "jetstream",
        "fsync before the acknowledgement",
        _nats(_STREAM % "  sync_interval: always\n"),
        _nats_server,
    ),
    Peer("Redis pub/sub", "redis", "none", _redis(), lambda: shutil.which("redis-server")),
    Peer(
        "Redis Streams, always",
        "redis-streams",
        "fsync before the acknowledgement",
        _redis("--appendonly", "yes", "--appendfsync", "always"),
        lambda: shutil.which("redis-server"),
    ),
    Peer("etcd watch", "etcd", "fsync before the acknowledgement", _etcd, lambda: shutil.which("etcd")),
    Peer("AutoGen gRPC host", "autogen", "none", _autogen, _AUTOGEN.exists, str(_AUTOGEN / "bin" / "python")),
]


async def _fan(port: int) -> None:
    """The bare service: every subscriber gets every event in a message of its own."""
    readers: set[asyncio.Queue[bytes]] = set()

    async def publish(request: bytes, context: Any) -> bytes:
        for reader in readers:
            reader.put_nowait(request)
        return b""

    async def subscribe(request: bytes, context: Any) -> None:
        own: asyncio.Queue[bytes] = asyncio.Queue()
        readers.add(own)
        try:
            await context.write(b"")
            while True:
                await context.write(await own.get())
        finally:
            readers.discard(own)

    server = grpc.aio.server()
    methods = {
        "Publish": grpc.unary_unary_rpc_method_handler(publish),
        "Subscribe": grpc.unary_stream_rpc_method_handler(subscribe),
    }
    # Also under the name that our C++ client calls.
    names = ("bench.Fan", "orchestra.v1.EventService")
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods) for name in names])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(_fan(int(sys.argv[1])))
