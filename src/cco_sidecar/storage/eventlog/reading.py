"""Reads the segments of a project: the newest events when the log is opened, and any others by number or by time."""

from __future__ import annotations

import logging
import os
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.storage.eventlog import segment as segments
from cco_sidecar.storage.eventlog.segment import HEADER_BYTES, Header, Record, read_header

log = logging.getLogger(__name__)

# Read at once. A larger event is read with all that follows it in its segment.
_WINDOW_BYTES = 1024 * 1024
# The place of every so many-th event is remembered once it was read.
_STRIDE = 256
_PIECE_BYTES = 1024 * 1024
_ALL = 2**64 - 1


@dataclass(slots=True)
class Segment:
    """``first_seq`` and ``micros`` are those of its first event, or the number in its name and 0 if it has none.

    ``last_seq`` is its newest event that counts: what follows was refused. ``size`` is in bytes.
    """

    path: Path
    header: Header | None
    first_seq: int
    last_seq: int = 0
    size: int = 0
    micros: int = 0
    # The numbers of some events, and where each ends.
    _seqs: array[int] = field(default_factory=lambda: array("Q"))
    _ends: array[int] = field(default_factory=lambda: array("Q"))
    _reported: set[int] = field(default_factory=set)

    @classmethod
    def found(cls, path: Path) -> Segment:
        """Looks at the header of a file and at its first event."""
        with open(path, "rb") as file:
            header = read_header(file.read(HEADER_BYTES))
            size = os.fstat(file.fileno()).st_size
        segment = cls(path, header, int(path.stem) if path.stem.isdigit() else 0, _ALL, size)
        if header is None:
            log.error("event log: skipping %s: its header is missing or damaged", path)
        for record in segment.records(0, window=4096):
            segment.first_seq, segment.micros = record.seq, record.micros
            break
        return segment

    @property
    def empty(self) -> bool:
        return self.header is None or self.size <= self.header.size

    def records(self, after: int, *, window: int = _WINDOW_BYTES) -> Iterator[Record]:
        """Yields the events after a number; none of a file that was deleted. Raises OSError."""
        if self.header is None:
            return
        known = bisect_right(self._seqs, after) - 1
        offset = self._ends[known] if known >= 0 else self.header.size
        passed = 0
        try:
            with open(self.path, "rb") as file:
                while offset < self.size:
                    data = os.pread(file.fileno(), min(window, self.size - offset), offset)
                    whole = not data or offset + len(data) >= self.size
                    end = 0
                    for end, record in segments.scan(self.header, data, self._report(offset), whole=whole):
                        if record.seq > self.last_seq:
                            return
                        passed += 1
                        if passed % _STRIDE == 0 and (not self._seqs or record.seq > self._seqs[-1]):
                            self._seqs.append(record.seq)
                            self._ends.append(offset + end)
                        if record.seq > after:
                            after = record.seq
                            yield record
                    if whole:
                        return
                    offset += end
                    # Nothing was complete: read all that is left.
                    window = _WINDOW_BYTES if end else self.size
        except FileNotFoundError:
            return

    def newest_before(self, seq: int, count: int) -> Sequence[Record]:
        """Returns up to ``count`` of the newest events before a number, in order. Raises OSError."""
        known = bisect_left(self._seqs, seq) - 2 - count // _STRIDE
        for after in (self._seqs[known], 0) if known >= 0 else (0,):
            found = deque(takewhile(lambda record: record.seq < seq, self.records(after)), maxlen=count)
            if found:
                return found
        return ()

    def _report(self, offset: int) -> Callable[[int, int], None]:
        def report(begin: int, end: int) -> None:
            begin, end = begin + offset, end + offset
            if begin in self._reported:
                return
            self._reported.add(begin)
            if end == self.size:
                log.warning("event log: %s ends with %d bytes of an incomplete write", self.path, end - begin)
            else:
                log.error("event log: %s is damaged from byte %d to %d", self.path, begin, end)

        return report


class Stored(NamedTuple):
    """What a directory holds.

    ``after`` is the newest event known to be stored, ``head`` the highest number ever used, ``trimmed`` the one before
    the oldest event. ``newest`` holds the latest events in order.
    """

    segments: list[Segment]
    epoch: str
    after: int
    head: int
    trimmed: int
    newest: list[Record]


def stored(directory: Path, max_records: int, max_bytes: int) -> Stored:
    """Looks at a project's segments, and reads at most ``max_records`` and about ``max_bytes`` of the newest events.
    Raises OSError."""
    found = [Segment.found(path) for path in sorted(directory.glob("*.log"))] if directory.is_dir() else []
    newest: list[Record] = []
    size = head = stored_after = 0
    epoch = ""
    # From the newest segment to the oldest: what an older one holds beyond ``after`` was refused, and it ends before
    # the ``following`` one begins.
    after = following = _ALL
    for segment in reversed(found):
        head = max(head, segment.first_seq)
        if segment.header is None:
            segment.last_seq = 0
            continue
        epoch = epoch or segment.header.epoch
        stored_after = stored_after or segment.header.after or 0
        segment.last_seq = min(after, following - 1)
        if not newest or (len(newest) < max_records and size < max_bytes):
            records = list(segment.records(0))
            segment.last_seq = records[-1].seq if records else 0
            size += sum(len(record.payload) for record in records)
            newest[:0] = records
        head = max(head, segment.last_seq)
        following = segment.first_seq
        after = min(after, following if segment.header.after is None else segment.header.after)
    drop = 0
    while drop < len(newest) and (len(newest) - drop > max_records or size > max_bytes):
        size -= len(newest[drop].payload)
        drop += 1
    del newest[:drop]
    oldest = next((each.first_seq for each in found if each.first_seq <= each.last_seq), head + 1)
    return Stored(found, epoch, max(stored_after, newest[-1].seq if newest else 0), head, oldest - 1, newest)


def read_after(found: Sequence[Segment], seq: int, upto: int, count: int) -> list[Record]:
    """Returns up to ``count`` events after a number and up to ``upto``, in order; fewer if they are large. Raises
    OSError."""
    records: list[Record] = []
    size = 0
    for segment in found:
        if segment.last_seq <= seq:
            continue
        if segment.first_seq > upto:
            break
        for record in takewhile(lambda record: record.seq <= upto, segment.records(seq)):
            records.append(record)
            size += len(record.payload)
            if len(records) == count or size > _PIECE_BYTES:
                return records
    return records


def read_before(found: Sequence[Segment], seq: int, count: int) -> Sequence[Record]:
    """Returns up to ``count`` of the newest events before a number, in order. Raises OSError."""
    for segment in reversed(found):
        if segment.first_seq < seq and (records := segment.newest_before(seq, count)):
            return records
    return ()


def number_at(found: Sequence[Segment], micros: int) -> int:
    """Returns a number before which all events are older than a time. Raises OSError."""
    earlier = [segment for segment in found if 0 < segment.micros < micros]
    if not earlier:
        return 0
    records = takewhile(lambda record: record.micros < micros, earlier[-1].records(0))
    return max((record.seq for record in records), default=0)


def droppable(found: Sequence[Segment], upto: int, expired: Callable[[int, int], bool], max_bytes: int) -> int:
    """See EventLog.droppable. Whole segments are dropped, and never the last."""
    surplus = sum(segment.size for segment in found) - max_bytes
    dropped = 0
    for segment, following in pairwise(found):
        old = following.micros > 0 and expired(following.first_seq, following.micros)
        if not (segment.last_seq <= upto or old or surplus > 0):
            break
        surplus -= segment.size
        dropped = max(dropped, segment.last_seq)
    return dropped
