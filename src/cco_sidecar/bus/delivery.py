"""Delivery: batches from subscriptions to readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cco_sidecar.bus.base import Batch, Counters
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
        counters, now = self._counters, self._loop.time()
        deadline = now + HEARTBEAT_SECONDS
        batch: Batch | None = None
        subscription, seq, upto, delay = None, 0, 0, 0.0
        while at < len(readers) and time.monotonic() < pause:
            reader = readers[at]
            at += 1
            reader.deadline = deadline
            if batch is None or reader.seq != seq or reader.subscription is not subscription or reader.gap is not None:
                # The first one of its kind.
                subscription, seq = reader.subscription, reader.seq
                batch = self._push(reader)
                if batch is not None:
                    upto, delay = reader.seq, now - batch.entries[-1].committed_at
                continue
            if reader.sink is None or reader.held is not None:
                reader.wake()
                continue
            reader.seq = upto
            if not reader.sink(batch.wire):
                reader.held = batch
                reader.wake()
            counters.delivered += len(batch.entries)
            counters.deliveries += 1
            counters.delivery_seconds += delay
        return at

    def _push(self, reader: Reader) -> Batch | None:
        """Hands one reader its next batch, or wakes it; returns the batch if it is what others at its position get."""
        if reader.sink is None or self.draining or reader.held is not None:
            reader.wake()
            return None
        piece = reader.next(BATCH_EVENTS)
        if piece is None or not (piece.entries or reader.gap):
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
            counters = self._counters
            counters.delivered += len(piece.entries)
            committed = piece.entries[-1].committed_at
            if committed:
                counters.deliveries += 1
                counters.delivery_seconds += self._loop.time() - committed
        return reader.batch(piece)
