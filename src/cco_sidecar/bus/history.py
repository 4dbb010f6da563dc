"""The retained events of a project: the newest are in memory, in the journal, and older ones are read from the log."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

from cco_sidecar.bus.base import FROM_OLDEST, Position
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.idempotency import WINDOW_MICROS, Keys
from cco_sidecar.bus.journal import Journal
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.storage.eventlog.base import EventReader, EventRecord

T = TypeVar("T")

# Entries that are read or scanned at once.
PIECE = 500
PIECE_BYTES = 1024 * 1024
# Pieces that are kept for other readers at the same place.
_KEPT_PIECES = 4


class History:
    """Raises SidecarError (STR_002) wherever the log cannot be read. Not thread-safe."""

    def __init__(self, log: EventReader, project: str, journal: Journal) -> None:
        self._log = log
        self._project = project
        self._journal = journal
        self._pieces: OrderedDict[int, asyncio.Future[list[Entry]]] = OrderedDict()
        # What was not in memory when the log was opened is read only when a publisher's condition is about it.
        self._unread = journal.floor
        self._topics_known = self._keys_known = journal.floor == journal.trimmed
        self._learning = asyncio.Lock()

    async def after(self, seq: int, count: int = PIECE) -> Sequence[Entry]:
        """Returns up to ``count`` entries after a number, in order. Fewer if they are large; none at the end."""
        journal = self._journal
        found: list[Entry] = []
        size = 0
        while len(found) < count and size < PIECE_BYTES:
            seq = max(seq, journal.trimmed)
            floor = journal.floor
            if seq >= floor:
                return found + journal.after(seq, count - len(found))
            piece = await self._piece(seq)
            if found and journal.trimmed > seq:
                # What follows is gone; the reader has to notice.
                return found
            kept = [entry for entry in piece if entry.seq > journal.trimmed]
            found += kept[: count - len(found)]
            size += sum(len(entry.frame) for entry in kept)
            # A piece that was trimmed meanwhile is not the end of what is on disk.
            seq = piece[-1].seq if piece else floor
        return found

    async def before(self, seq: int, count: int = PIECE) -> Sequence[Entry]:
        """Returns up to ``count`` entries before a number, newest first; none only if there are none."""
        journal = self._journal
        if seq > journal.floor + 1 and (found := journal.before(seq, count)):
            return found
        if journal.trimmed >= min(seq - 1, journal.floor):
            return ()
        records = await self._guarded(self._log.before(self._project, min(seq, journal.floor + 1), count))
        entries = await asyncio.to_thread(self._entries, records)
        return [entry for entry in reversed(entries) if entry.seq > journal.trimmed]

    async def newest_first(self) -> AsyncIterator[Entry]:
        seq = self._journal.head + 1
        while piece := await self.before(seq):
            for entry in piece:
                yield entry
            seq = piece[-1].seq

    async def find(self, seq: int) -> Entry | None:
        journal = self._journal
        if journal.trimmed < seq <= journal.floor:
            records = await self._guarded(self._log.after(self._project, seq - 1, seq, 1))
            return journal.entry(records[0]) if records else None
        found = journal.after(seq - 1, 1)
        return found[0] if found and found[0].seq == seq else None

    async def position_at(self, micros: int) -> Position:
        """Returns where to start reading for events at or after a time."""
        journal = self._journal
        if journal.trimmed < journal.floor and not journal.begins_before(micros):
            seq = await self._guarded(self._log.number_at(self._project, micros))
            return Position(max(seq, journal.trimmed))
        return journal.position_at(micros)

    def forget_pieces(self) -> None:
        """Frees what was read for readers that may have gone."""
        self._pieces.clear()

    async def learn_topic(self, topic: str) -> None:
        """Makes sure that the journal knows the newest event of a topic. Reads all that is stored at most once."""
        if self._topics_known or self._journal.newest_of(topic) != FROM_OLDEST:
            return
        async with self._learning:
            if self._topics_known:
                return
            seq = self._journal.trimmed
            while entries := await self._stored(seq):
                for entry in entries:
                    self._journal.remember(entry)
                seq = entries[-1].seq
            self._topics_known = True

    async def learn_keys(self, keys: Keys, now_micros: int) -> None:
        """Gives ``keys`` those of the last ten minutes that were not in memory at the start. ``now_micros`` is
        steady-clock time."""
        if self._keys_known:
            return
        async with self._learning:
            if self._keys_known:
                return
            keyed: list[Entry] = []
            seq = await self._guarded(self._log.number_at(self._project, now_micros - WINDOW_MICROS))
            while entries := await self._stored(seq):
                keyed += [entry for entry in entries if entry.event.idempotency_key]
                seq = entries[-1].seq
            keys.restore(keyed)
            self._keys_known = True

    async def _stored(self, seq: int) -> list[Entry]:
        """Entries after a number that were not in memory at the start."""
        records = await self._guarded(self._log.after(self._project, seq, self._unread, PIECE))
        return await asyncio.to_thread(self._entries, records)

    async def _piece(self, seq: int) -> list[Entry]:
        """Entries after a number that are not in memory. Readers at the same place share one reading."""
        piece = self._pieces.get(seq)
        if piece is None:
            piece = self._pieces[seq] = asyncio.ensure_future(self._load(seq))
            if len(self._pieces) > _KEPT_PIECES:
                self._pieces.popitem(last=False)
        try:
            found = await asyncio.shield(piece)
        except SidecarError:
            self._pieces.pop(seq, None)
            raise
        if not found:
            # Later there may be more that is not in memory.
            self._pieces.pop(seq, None)
        return found

    async def _load(self, seq: int) -> list[Entry]:
        records = await self._guarded(self._log.after(self._project, seq, self._journal.floor, PIECE))
        return await asyncio.to_thread(self._entries, records)

    async def _guarded(self, reading: Awaitable[T]) -> T:
        try:
            return await reading
        except OSError as problem:
            why = f" ({problem.strerror})" if problem.strerror else ""
            raise internal("STR_002", f"stored events could not be read{why}") from problem

    def _entries(self, records: Sequence[EventRecord]) -> list[Entry]:
        return [self._journal.entry(record) for record in records]
