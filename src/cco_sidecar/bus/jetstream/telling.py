"""What sidecars tell each other without storing it: whoever is away does not hear it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable

from nats.aio.msg import Msg

from cco_sidecar.bus.jetstream.connection import FAILURES, Connection
from cco_sidecar.core.background import Background

log = logging.getLogger(__name__)


class Telling:
    """Messages below the subject ``<prefix>-tell``."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._subject = f"{prefix}-tell"
        self._listeners: defaultdict[str, list[Callable[[bytes], None]]] = defaultdict(list)
        self._sending = Background()

    async def start(self) -> None:
        await self._connection.client.subscribe(f"{self._subject}.*", cb=self._heard)

    def hear(self, what: str, listener: Callable[[bytes], None]) -> None:
        self._listeners[what].append(listener)

    def tell(self, what: str, message: bytes) -> None:
        self._sending.start(self._send(f"{self._subject}.{what}", message), "telling the other sidecars")

    async def end(self) -> None:
        await self._sending.end()

    async def _send(self, subject: str, message: bytes) -> None:
        try:
            await self._connection.client.publish(subject, message)
        except FAILURES as problem:
            log.debug("cannot tell the other sidecars: %s", problem)

    async def _heard(self, message: Msg) -> None:
        for listener in self._listeners[message.subject.rpartition(".")[2]]:
            listener(message.data)
