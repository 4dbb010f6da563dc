"""A reader: a position in a journal, and the slices it reads from there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cco_sidecar.bus import scans
from cco_sidecar.bus.base import Batch, Position, Sink
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.journal import Journal
from cco_sidecar.bus.subscription import Slice, Subscription
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.encoded import Encoded
from orchestra.v1.event_service_pb2 import Gap, SubscribeResponse

BATCH_BYTES = 1024 * 1024
_NEVER = 2**63


class Reader:
    """``seq`` is the last number that was delivered or skipped; ``gap`` is reported with the next batch.

    ``sink``, if given, gets batches while the reader waits; see Following. ``held`` is one that it did not take.
    ``deadline`` is when it gets an empty batch, in loop time.
    """

    __slots__ = ("_clock", "_journal", "_waiter", "deadline", "gap", "held", "seq", "sink", "subscription")

    def __init__(self, journal: Journal, subscription: Subscription, start: Position, since: str, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self.subscription = subscription
        self.seq = start.seq
        self.gap: Gap | None = None
        self.sink: Sink | None = None
        self.held: Batch | None = None
        self.deadline = 0.0
        self._waiter: asyncio.Future[None] | None = None
        if start.gap:
            self.gap = Gap(since=since, resumed_after=journal.cursor(start.seq), missed=start.missed)

    @property
    def in_the_past(self) -> bool:
        """Reports whether it has to read what came before the entries of its subscription."""
        return self.seq < self.subscription.start

    async def until_woken(self, deadline: float) -> None:
        """Waits until its subscription has new events, or the bus finds that ``deadline`` has passed."""
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        self.deadline = deadline
        self.subscription.waiters[self] = None
        try:
            await waiter
        finally:
            del self.subscription.waiters[self]
            self._waiter = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def next(self, limit: int) -> Slice:
        """Returns the next slice of at most ``limit`` events. Not for a reader in the past."""
        subscription = self.subscription
        if self.seq >= subscription.limit:
            return Slice((), self.seq)
        key = (self.seq, subscription.limit, limit)
        known = subscription.batches.get(key)
        if known is None or known.expires <= self._clock.steady_micros():
            piece = self._cut(subscription.after(self.seq), subscription.limit, limit)
            known = subscription.batches[key] = piece._replace(batch=self._batch(piece, None))
        self.seq = known.upto
        return known

    def batch(self, piece: Slice) -> Batch:
        """Turns a slice into a batch, with any pending gap."""
        if piece.batch is not None and self.gap is None:
            return piece.batch
        gap, self.gap = self.gap, None
        return self._batch(piece, gap)

    def _batch(self, piece: Slice, gap: Gap | None) -> Batch:
        cursor = self._journal.cursor(piece.upto)
        frames = b"".join(entry.frame for entry in piece.entries)
        tail = SubscribeResponse(cursor=cursor, gap=gap)
        wire = Encoded(SubscribeResponse, frames + tail.SerializeToString())
        return Batch(piece.entries, cursor, piece.more, gap, wire)

    def next_of_the_past(self, past: Sequence[Entry], limit: int) -> Slice | None:
        """Returns the next slice of ``past``, the entries after its position; None if none of those it looked at
        matches."""
        subscription = self.subscription
        if self.seq < self._journal.trimmed:
            self._declare_gap()
            if past and past[-1].seq <= self.seq:
                # All of it was trimmed meanwhile.
                return None
        past = [entry for entry in past if self.seq < entry.seq <= subscription.start]
        upto = past[-1].seq if past else subscription.start
        wanted: list[Entry] = []
        pause = time.monotonic() + scans.SECONDS
        for entry in past:
            if subscription.wants(entry):
                wanted.append(entry)
            if time.monotonic() > pause:
                upto = entry.seq
                break
        piece = self._cut(wanted, upto, limit)
        self.seq = piece.upto
        # The subscription may hold more events after the scanned part of the past.
        more = piece.more or upto < subscription.start or bool(subscription.after(piece.upto))
        return piece._replace(more=more) if piece.entries else None

    def _cut(self, entries: list[Entry], upto: int, limit: int) -> Slice:
        now = self._clock.steady_micros()
        size = 0
        taken: list[Entry] = []
        for entry in entries:
            if entry.expires <= now:
                continue
            if len(taken) == limit or (taken and size + len(entry.frame) > BATCH_BYTES):
                return Slice(tuple(taken), taken[-1].seq, True, expires=min(entry.expires for entry in taken))
            taken.append(entry)
            size += len(entry.frame)
        return Slice(tuple(taken), upto, expires=min((entry.expires for entry in taken), default=_NEVER))

    def _declare_gap(self) -> None:
        """Moves on to what is still retained. A gap that is not reported yet becomes larger."""
        trimmed, before = self._journal.trimmed, self.gap
        missed = trimmed - self.seq + (before.missed if before is not None else 0)
        since = before.since if before is not None else self._journal.cursor(self.seq)
        self.gap = Gap(since=since, resumed_after=self._journal.cursor(trimmed), missed=missed)
        self.seq = trimmed
