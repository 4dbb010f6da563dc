"""Delivery: batches from subscriptions to readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cco_sidecar.bus.base import Batch, Counters
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.reader import Reader
from cco_sidecar.bus.subscription import Slice

BATCH_EVENTS = 512
# Idle streams are sent their cursor, so that a reconnect does not start from a trimmed position.
HEARTBEAT_SECONDS = 15.0


class Delivery:
    """``draining``: readers get what is already there, and then end."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self.draining = False

    def hand_out(self, readers: Sequence[Reader], at: int, pause: float) -> int:
        """Hands waiting readers what is new, from index ``at`` on, until the time ``pause``; returns the next index.

        Readers of one subscription that are at the same position get the same batch.
        """
        deadline = self._loop.time() + HEARTBEAT_SECONDS
        batch: Batch | None = None
        subscription, seq, upto = None, 0, 0
        while at < len(readers) and time.monotonic() < pause:
            reader = readers[at]
            at += 1
            reader.deadline = deadline
            if batch is None or reader.seq != seq or reader.subscription is not subscription or reader.gap is not None:
                # The first one of its kind.
                subscription, seq = reader.subscription, reader.seq
                batch = self._push(reader)
                upto = reader.seq
                continue
            if reader.sink is None or reader.held is not None:
                reader.wake()
                continue
            reader.seq = upto
            if not reader.sink(batch.wire):
                reader.held = batch
                reader.wake()
            self._count(batch.entries)
        return at

    def _push(self, reader: Reader) -> Batch | None:
        """Hands one reader its next batch, or wakes it; returns the batch if it is what others at its position get."""
        if reader.sink is None or self.draining or reader.held is not None or reader.in_the_past:
            reader.wake()
            return None
        piece = reader.next(BATCH_EVENTS)
        if not (piece.entries or reader.gap):
            return None
        batch = self.batch(reader, piece)
        if not reader.sink(batch.wire):
            reader.held = batch
        if reader.held is not None or piece.more:
            reader.wake()
        return batch if batch is piece.batch and not piece.more else None

    def batch(self, reader: Reader, piece: Slice) -> Batch:
        """Counts the delivery and builds the batch."""
        if piece.entries:
            self._count(piece.entries)
        return reader.batch(piece)

    def _count(self, entries: Sequence[Entry]) -> None:
        counters = self._counters
        counters.delivered += len(entries)
        committed = entries[-1].committed_at
        if committed:
            counters.deliveries += 1
            counters.delivery_seconds += self._loop.time() - committed
