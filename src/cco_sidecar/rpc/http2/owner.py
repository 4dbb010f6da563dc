"""What a connection needs of its server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from cco_sidecar.rpc.http2.stream import Stream


class Owner(Protocol):
    max_receive: int

    def opened(self, connection: Any) -> bool:
        """Returns False if there are too many connections."""
        ...

    def closed(self, connection: Any) -> None: ...

    def serve(self, stream: Stream, ended: Callable[[], None]) -> asyncio.Task[None]:
        """Runs the call of a stream; calls ``ended`` when it is over."""
        ...
