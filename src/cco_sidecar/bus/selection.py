"""Lists of past events: those that a condition accepts, from a position on or the newest."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence

from cco_sidecar.bus import scans
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.history import PIECE, History
from cco_sidecar.bus.reader import BATCH_BYTES
from cco_sidecar.bus.scans import Scans


class Selection:
    """See EventBus.select. ``now`` is in microseconds of Clock.steady_micros."""

    def __init__(self, history: History, limit: int, keep: Callable[[Entry], bool], now: int) -> None:
        self._history = history
        self._limit = limit
        self._keep = keep
        self._now = now
        self._found: list[Entry] = []
        self._size = 0

    async def after(self, seq: int, turns: Scans, caller: str) -> tuple[list[Entry], bool]:
        """Returns the first entries after a number, and whether more follow."""
        while piece := await self._history.after(seq):
            if await turns.run(caller, self._scan(piece)):
                return self._found, True
            seq = piece[-1].seq
        return self._found, False

    async def before(self, seq: int, turns: Scans, caller: str) -> list[Entry]:
        """Returns the newest entries before a number, oldest first."""
        few = min(PIECE, 2 * self._limit + 16)
        while piece := await self._history.before(seq, few):
            if await turns.run(caller, self._scan(piece)) or len(self._found) == self._limit:
                break
            seq, few = piece[-1].seq, PIECE
        return self._found[::-1]

    def _scan(self, piece: Sequence[Entry]) -> Generator[None, None, bool]:
        """Takes what is wanted; yields where other work may run. Returns whether it has found one too many."""
        pause = time.monotonic() + scans.SECONDS
        for entry in piece:
            if time.monotonic() > pause:
                yield
                pause = time.monotonic() + scans.SECONDS
            if entry.expires <= self._now or not self._keep(entry):
                continue
            if len(self._found) == self._limit or (self._found and self._size + len(entry.frame) > BATCH_BYTES):
                return True
            self._found.append(entry)
            self._size += len(entry.frame)
        return False
