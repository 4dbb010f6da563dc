"""grpc.health.v1: watchers are notified of changes, and a slow watcher delays no other."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2 as pb

from cco_sidecar.rpc.health import Health

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING


class Watcher:
    def __init__(self, *, reads: bool = True) -> None:
        self.heard: list[int] = []
        self._reads = reads

    async def write(self, response: Any) -> None:
        if not self._reads:
            await asyncio.Event().wait()
        self.heard.append(response.status)


async def until_heard(watcher: Watcher, heard: list[int]) -> None:
    async with asyncio.timeout(5):
        while watcher.heard != heard:
            await asyncio.sleep(0)


async def test_a_watcher_that_does_not_read_delays_neither_others_nor_the_server() -> None:
    health, deaf, other = Health(), Watcher(reads=False), Watcher()
    request = pb.HealthCheckRequest(service="a")
    await health.set("a", SERVING)
    watching = [asyncio.create_task(health.Watch(request, each)) for each in (deaf, other)]
    await until_heard(other, [SERVING])
    async with asyncio.timeout(5):
        await health.set("a", NOT_SERVING)
    await until_heard(other, [SERVING, NOT_SERVING])
    await health.set("b", SERVING)
    await health.set("a", SERVING)
    await until_heard(other, [SERVING, NOT_SERVING, SERVING])
    for each in watching:
        each.cancel()


async def test_a_service_added_later_is_unknown_until_then() -> None:
    health, watcher = Health(), Watcher()
    watching = asyncio.create_task(health.Watch(pb.HealthCheckRequest(service="new"), watcher))
    await until_heard(watcher, [pb.HealthCheckResponse.SERVICE_UNKNOWN])
    await health.set("new", SERVING)
    await until_heard(watcher, [pb.HealthCheckResponse.SERVICE_UNKNOWN, SERVING])
    watching.cancel()
