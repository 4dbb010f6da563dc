"""Follows a stream: every event once and in order, whatever happens to connections, servers and consumers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from cco_sidecar.bus.jetstream.connection import FAILURES, Connection
from cco_sidecar.core.retry import Backoff

log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 2.0
# The server deletes a consumer that nobody listens to.
_FORGOTTEN_SECONDS = 30.0

# Called with the number, the time in Unix microseconds, the headers and the payload of a message.
Arrived = Callable[[int, int, Mapping[str, str], bytes], None]


class Follower:
    """``at`` is the number of the last message; ``arrived`` is called with those after it. A message whose number is
    not the next one follows a gap: what is missing is no longer retained."""

    def __init__(self, connection: Connection, stream: str, at: int, arrived: Arrived) -> None:
        self._connection = connection
        self._stream = stream
        self._arrived = arrived
        self.at = at
        # Of the consumer: how many messages it has sent.
        self._count = 0
        self._broken = asyncio.Event()
        self._heard = 0.0
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        backoff = Backoff()
        while True:
            before = self.at
            try:
                await self._follow()
            except FAILURES as problem:
                log.warning("cannot follow %s, will retry: %s", self._stream, problem or "no answer")
            if self.at > before:
                backoff.succeeded()
            await asyncio.sleep(backoff.failed())

    async def _follow(self) -> None:
        """Follows one consumer until it breaks."""
        client, jetstream = self._connection.client, self._connection.jetstream
        inbox = client.new_inbox()
        self._broken.clear()
        self._count = 0
        subscription = await client.subscribe(inbox, cb=self._receive, pending_bytes_limit=-1, pending_msgs_limit=-1)
        try:
            config = ConsumerConfig(
                deliver_subject=inbox,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self.at + 1,
                ack_policy=AckPolicy.NONE,
                flow_control=True,
                idle_heartbeat=_HEARTBEAT_SECONDS,
                inactive_threshold=_FORGOTTEN_SECONDS,
                mem_storage=True,
                num_replicas=1,
            )
            await jetstream.add_consumer(self._stream, config)
            self._heard = self._loop.time()
            while self._loop.time() - self._heard < 2.5 * _HEARTBEAT_SECONDS:
                try:
                    async with asyncio.timeout(_HEARTBEAT_SECONDS):
                        await self._broken.wait()
                    return
                except TimeoutError:
                    continue
        finally:
            # Without a listener the server forgets the consumer.
            await subscription.unsubscribe()

    async def _receive(self, message: Msg) -> None:
        if self._broken.is_set():
            return
        self._heard = self._loop.time()
        headers = message.headers or {}
        if not message.reply.startswith("$JS.ACK."):
            await self._control(message, headers)
            return
        # $JS.ACK[.<domain>.<account>].<stream>.<consumer>.<deliveries>.<stream number>.<consumer number>.<time>...
        parts = message.reply.split(".")
        at = 5 if len(parts) < 11 else 7
        seq, count, nanoseconds = int(parts[at]), int(parts[at + 1]), int(parts[at + 2])
        if count != self._count + 1:
            self._broken.set()
            return
        self._count = count
        if seq <= self.at:
            return
        self.at = seq
        try:
            self._arrived(seq, nanoseconds // 1000, headers, message.data)
        except Exception:
            # A message of somebody else, or a fault of ours: those behind it must arrive all the same.
            log.exception("message %d of %s cannot be read", seq, self._stream)

    async def _control(self, message: Msg, headers: Mapping[str, str]) -> None:
        """Answers flow control, and notices by a heartbeat that messages were lost."""
        stalled = headers.get("Nats-Consumer-Stalled")
        if message.reply or stalled:
            await self._connection.client.publish(stalled or message.reply, b"")
        if int(headers.get("Nats-Last-Consumer") or self._count) != self._count:
            self._broken.set()
