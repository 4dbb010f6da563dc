"""Reads stored events, in batches (NATS 2.11: direct gets of several messages)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from cco_sidecar.bus.jetstream.connection import FAILURES, REQUEST_SECONDS, Connection
from cco_sidecar.bus.jetstream.messages import micros_of, record_of
from cco_sidecar.bus.jetstream.streams import Stream, Streams
from cco_sidecar.storage.eventlog.base import EventRecord

_BATCH_BYTES = 1024 * 1024
# In the year 2255: a later time in nanoseconds has more than 63 bits.
_LATEST_MICROS = 9 * 10**15
# A replica may be behind.
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05


class StoredEvents:
    """The events of one project. Raises OSError when they cannot be read. ``trimmed`` is called before anything is
    returned that follows events which the stream no longer has."""

    def __init__(
        self, connection: Connection, streams: Streams, project: str, stream: Stream, trimmed: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._streams = streams
        self._project = project
        self._stream = stream
        self._trimmed = trimmed

    async def after(self, project: str, seq: int, upto: int, count: int) -> list[EventRecord]:
        """See EventLog.after."""
        first = max(seq + 1, self._stream.first)
        if first > seq + 1:
            self._trimmed()
        count = min(count, upto - first + 1)
        if count <= 0:
            return []
        for _ in range(_ATTEMPTS):
            found = await self._get({"seq": first, "batch": count, "max_bytes": _BATCH_BYTES})
            if found:
                if found[0].seq > first:
                    # What is missing in front was trimmed.
                    self._stream.first = max(self._stream.first, found[0].seq)
                    self._trimmed()
                return [record for record in found if record.seq <= upto]
            await asyncio.sleep(_PAUSE_SECONDS)
        # Nothing is left.
        try:
            await self._streams.refresh(self._stream)
        except FAILURES as problem:
            raise OSError(0, str(problem) or "NATS does not answer") from problem
        self._trimmed()
        if self._stream.first <= upto:
            raise OSError(0, "the servers of NATS are behind one another")
        return []

    async def before(self, project: str, seq: int, count: int) -> list[EventRecord]:
        """See EventLog.before. The numbers of a stream have no holes."""
        first = max(self._stream.first, seq - count)
        found: list[EventRecord] = []
        while more := await self.after(project, found[-1].seq if found else first - 1, seq - 1, count):
            found += more
        return found

    async def number_at(self, project: str, micros: int) -> int:
        """See EventLog.number_at."""
        seconds, rest = divmod(min(max(0, micros), _LATEST_MICROS), 1_000_000)
        time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
        found = await self._get({"start_time": time, "batch": 1})
        if not found or found[0].micros >= micros:
            return found[0].seq - 1 if found else self._stream.last
        # It was copied here later than it happened, as were those after it, in their order.
        low, high = found[0].seq, self._stream.last
        while low < high:
            middle = (low + high + 1) // 2
            there = await self._get({"seq": middle, "batch": 1})
            if there and there[0].micros < micros:
                low = middle
            else:
                high = middle - 1
        return low

    async def newest_of(self, topic: str) -> int:
        """Returns the number of a topic's newest event, 0 if there is none. Asks the leader."""
        try:
            found = await self._connection.jetstream.get_last_msg(
                self._stream.name, self._streams.subject(self._project, topic), direct=False
            )
        except NotFoundError:
            return 0
        except FAILURES as problem:
            raise OSError(0, str(problem) or "NATS does not answer") from problem
        return found.seq or 0

    async def _get(self, request: dict[str, Any]) -> list[EventRecord]:
        client = self._connection.client
        found: list[EventRecord] = []
        ended = asyncio.get_running_loop().create_future()

        async def take(message: Msg) -> None:
            headers = message.headers or {}
            if "Nats-Sequence" not in headers:
                if not ended.done():
                    ended.set_result(headers.get("Status", ""))
                return
            micros = micros_of(headers["Nats-Time-Stamp"])
            found.append(record_of(self._project, int(headers["Nats-Sequence"]), micros, headers, message.data))

        try:
            inbox = client.new_inbox()
            subscription = await client.subscribe(inbox, cb=take)
            try:
                where = f"$JS.API.DIRECT.GET.{self._stream.name}"
                await client.publish(where, json.dumps(request).encode(), reply=inbox)
                async with asyncio.timeout(REQUEST_SECONDS):
                    status = await ended
            finally:
                await subscription.unsubscribe()
        except FAILURES as problem:
            raise OSError(0, str(problem) or "NATS does not answer") from problem
        if status not in ("204", "404"):
            raise OSError(0, f"NATS answers {status}")
        return found
