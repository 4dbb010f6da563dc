"""The probe of `bench.fairness`, in its own process: how long does a client with a trivial request wait?

``python -m bench.fairness_probe REST GRPC PEER`` (ports of a sidecar and of a bare server) sends requests until its
standard input closes, then prints the samples as JSON. The bare server is otherwise idle, so its latency is the
machine's own share.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import grpc
import grpc.aio
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

# Timeout of one call; a server that is silent for longer counts as lost.
PATIENCE = 60.0
_EVERY_SECONDS = 0.010
_NEWCOMER_EVERY_SECONDS = 0.100
# The probe exits by itself if its parent forgets it.
_MAX_SECONDS = 900.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Ask = Callable[[], Awaitable[bool]]


class Sample(NamedTuple):
    """``at`` is CLOCK_MONOTONIC, which is the same in every process of a machine; ``ok``: answered and healthy."""

    at: float
    ms: float
    ok: bool


class Http:
    """GET on one connection, which is reopened when it is lost."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> bool:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
        except BaseException:
            self.close()
            raise
        return head.startswith(b"HTTP/1.1 200 ")

    async def ask_as_newcomer(self) -> bool:
        """The same on a new connection."""
        try:
            return await self.ask()
        finally:
            self.close()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def grpc_health(channel: grpc.aio.Channel) -> Ask:
    stub = health_pb2_grpc.HealthStub(channel)

    async def ask() -> bool:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return ask


async def repeat(ask: Ask, every: float, stop: asyncio.Event) -> list[Sample]:
    """Each call waits for the previous one. Callers that would have arrived meanwhile are counted too, as if each had
    arrived on schedule and been answered when the late answer came. Otherwise a pause of two seconds would be one
    sample (coordinated omission).
    """
    samples: list[Sample] = []
    slot = time.monotonic()
    while not stop.is_set():
        await asyncio.sleep(max(0.0, slot - time.monotonic()))
        began = time.monotonic()
        ok = await _answered(ask)
        ended = time.monotonic()
        samples.append(Sample(began, (ended - began) * 1000, ok))
        slot = began + every
        while slot < ended:
            samples.append(Sample(slot, (ended - slot) * 1000, ok))
            slot += every
    return samples


async def _answered(ask: Ask) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            return await ask()
    except (OSError, EOFError, TimeoutError, ValueError, grpc.RpcError):
        return False


async def measure(rest: int, grpc_port: int, peer: int) -> dict[str, list[Sample]]:
    stop = asyncio.Event()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        probes = {
            "rest": repeat(Http(rest, "/health").ask, _EVERY_SECONDS, stop),
            "grpc": repeat(grpc_health(channel), _EVERY_SECONDS, stop),
            "newcomer": repeat(Http(rest, "/health").ask_as_newcomer, _NEWCOMER_EVERY_SECONDS, stop),
            "peer": repeat(Http(peer, "/").ask, _EVERY_SECONDS, stop),
        }
        running = asyncio.gather(*probes.values())
        print("ready", flush=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_MAX_SECONDS):
                await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        stop.set()
        return dict(zip(probes, await running, strict=True))


class Probe:
    """The probe process, seen from outside."""

    def __init__(self, rest: int, grpc_port: int, peer: int) -> None:
        ports = (str(port) for port in (rest, grpc_port, peer))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.fairness_probe", *ports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> dict[str, list[Sample]]:
        """Ends the probe; returns its samples."""
        try:
            printed = self._process.communicate(timeout=2 * PATIENCE)[0]
        finally:
            self.kill()
        return {name: [Sample(*each) for each in samples] for name, samples in json.loads(printed).items()}

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(*map(int, sys.argv[1:4])))))
