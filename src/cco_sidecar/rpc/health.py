"""grpc.health.v1, with independent watchers."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1._async import HealthServicer


class Health(HealthServicer):  # type: ignore[misc]
    """Replaces Watch and set: upstream's Watch holds a lock while it writes.

    With that lock, a client that does not read would block all other watchers and every status change.
    """

    def __init__(self) -> None:
        super().__init__()
        self._statuses: dict[str, pb.HealthCheckResponse.ServingStatus] = self._server_status
        self._changed = asyncio.Event()

    async def Watch(self, request: pb.HealthCheckRequest, context: Any) -> None:
        last: Any = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, pb.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != last:
                last = status
                await context.write(pb.HealthCheckResponse(status=status))
            await changed.wait()

    async def set(self, service: str, status: pb.HealthCheckResponse.ServingStatus) -> None:
        self._statuses[service] = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
