"""The event log on disk: one directory per project, segments of checksummed records, one writer thread.

A new process never appends to an old segment, so a torn tail is simply where a segment ends. A batch costs one write
and one fdatasync per project.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cco_sidecar.core.metrics import Histogram
from cco_sidecar.storage.eventlog import reading
from cco_sidecar.storage.eventlog.base import EventRecord, NewEvent, OpenedLog
from cco_sidecar.storage.eventlog.reading import Segment
from cco_sidecar.storage.eventlog.segment import Record, encoded, new_header
from cco_sidecar.storage.files import make_directory, remove, sync_directory

log = logging.getLogger(__name__)

T = TypeVar("T")

_SEGMENT_BYTES = 8 * 2**20
# Of a project, at the start.
_MAX_OPENED = 10_000
_MAX_OPENED_BYTES = 32 * 2**20
_PROBE_BYTES = 64 * 1024


@dataclass(slots=True)
class _ProjectLog:
    directory: Path
    epoch: str
    next_seq: int = 1
    # The newest event that was acknowledged.
    acknowledged: int = 0
    # The directory is known to be on disk.
    made: bool = False
    segments: list[Segment] = field(default_factory=list)
    descriptor: int = -1


class SegmentLog:
    """Implements EventLog in local files, for one process.

    A segment that has ``segment_bytes`` is full. ``max_opened`` newest events of a project are returned by ``open``.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = _SEGMENT_BYTES, max_opened: int = _MAX_OPENED) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._max_opened = max_opened
        self.syncs = Histogram()
        self._projects: dict[str, _ProjectLog] = {}
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Readers share what they learn about a segment.
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="event-writer", daemon=True)
        self._thread.start()

    async def probe(self) -> None:
        await asyncio.to_thread(self._probe)

    def _probe(self) -> None:
        path = self._directory / ".probe"
        try:
            with open(path, "wb") as file:
                file.write(b"\0" * _PROBE_BYTES)
                file.flush()
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)

    # -- reading, at startup -----------------------------------------------------------------------

    async def projects(self) -> list[str]:
        return sorted(path.name for path in self._directory.iterdir() if path.is_dir())

    async def open(self, project: str) -> OpenedLog:
        """Looks at a project's segments. This blocks the event loop, so existing logs are opened at startup."""
        directory = self._directory / project
        found = reading.stored(directory, self._max_opened, _MAX_OPENED_BYTES)
        state = _ProjectLog(directory, found.epoch or secrets.token_hex(4), segments=found.segments)
        state.next_seq = found.head + 1
        state.acknowledged = found.after
        self._projects[project] = state
        return OpenedLog(state.epoch, found.head, found.trimmed, _of_project(project, found.newest))

    async def begin(self, project: str, epoch: str, last: int) -> None:
        """Makes the log of a project that continues another: after number ``last`` of an epoch. It must have none.
        Raises OSError."""
        state = _ProjectLog(self._directory / project, epoch, last + 1, acknowledged=last)
        self._projects[project] = state
        await asyncio.to_thread(self._segment_for, state, last + 1)

    async def after(self, project: str, seq: int, upto: int, count: int) -> list[EventRecord]:
        return _of_project(project, await self._read(reading.read_after, project, seq, upto, count))

    async def before(self, project: str, seq: int, count: int) -> list[EventRecord]:
        return _of_project(project, await self._read(reading.read_before, project, seq, count))

    async def number_at(self, project: str, micros: int) -> int:
        return await self._read(reading.number_at, project, micros)

    def droppable(self, project: str, upto: int, expired: Callable[[int, int], bool], max_bytes: int) -> int:
        return reading.droppable(tuple(self._projects[project].segments), upto, expired, max_bytes)

    async def _read(self, read: Callable[..., T], project: str, *arguments: int) -> T:
        segments = tuple(self._projects[project].segments)

        def job() -> T:
            with self._reading:
                return read(segments, *arguments)

        return await asyncio.to_thread(job)

    # -- writing ---------------------------------------------------------------------------------------

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[list[int]]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[int]] = loop.create_future()

        def job() -> None:
            try:
                numbers = self._write(events)
            except Exception as problem:
                log.error("event log: cannot write a batch of %d events: %s", len(events), problem)
                _tell(loop, done.set_exception, problem)
            else:
                _tell(loop, done.set_result, numbers)

        self._queue.put(job)
        return done

    def trim(self, project: str, upto: int) -> None:
        """Deletes the segments that hold nothing after ``upto``."""
        self._queue.put(lambda: self._trim(project, upto))

    async def close(self) -> None:
        """Writes what is queued and stops the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- the writer thread --------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                job()
            except Exception:
                # The thread must survive disk errors.
                log.exception("event log: a job failed")
        for state in self._projects.values():
            if state.descriptor >= 0:
                os.close(state.descriptor)

    def _write(self, events: Sequence[NewEvent]) -> list[int]:
        """Writes a batch and returns its numbers. Numbers of a failed batch are not reused: one may name a segment."""
        numbers: list[int] = []
        by_project: dict[str, list[Record]] = {}
        for event in events:
            state = self._projects[event.project]
            numbers.append(state.next_seq)
            record = Record(state.next_seq, event.micros, event.ttl, event.payload)
            by_project.setdefault(event.project, []).append(record)
            state.next_seq += 1
        written: list[tuple[_ProjectLog, Segment, int, list[Record]]] = []
        try:
            for project, records in by_project.items():
                state = self._projects[project]
                segment = self._segment_for(state, records[0].seq)
                assert segment.header is not None
                data = b"".join(encoded(segment.header, record) for record in records)
                written.append((state, segment, len(data), records))
                _write_all(state.descriptor, data)
                began = time.perf_counter()
                os.fdatasync(state.descriptor)
                self.syncs.observe(time.perf_counter() - began)
        except Exception:
            # No event of a failed batch may reappear after a restart: truncate the segment and start another.
            for state, segment, _, _ in written:
                self._abandon(state, segment)
            raise
        for state, segment, size, records in written:
            if not segment.micros:
                segment.first_seq, segment.micros = records[0].seq, records[0].micros
            segment.size += size
            segment.last_seq = state.acknowledged = records[-1].seq
        return numbers

    def _segment_for(self, state: _ProjectLog, first_seq: int) -> Segment:
        if state.descriptor >= 0 and state.segments[-1].size < self._segment_bytes:
            return state.segments[-1]
        if state.descriptor >= 0:
            os.close(state.descriptor)
            state.descriptor = -1
        if not state.made:
            # Also if it is there: the process that made it may have failed before it was on disk.
            make_directory(state.directory)
            state.made = True
        path = state.directory / f"{first_seq:016d}.log"
        data, header = new_header(state.epoch, state.acknowledged)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, data)
            sync_directory(state.directory)
        except OSError:
            os.close(descriptor)
            remove(path)
            raise
        state.descriptor = descriptor
        state.segments.append(Segment(path, header, first_seq, first_seq - 1, header.size))
        return state.segments[-1]

    def _abandon(self, state: _ProjectLog, segment: Segment) -> None:
        try:
            os.ftruncate(state.descriptor, segment.size)
            os.fsync(state.descriptor)
        except OSError as problem:
            log.error("event log: cannot truncate %s to %d bytes: %s", segment.path, segment.size, problem)
        if state.descriptor >= 0:
            os.close(state.descriptor)
        state.descriptor = -1

    def _trim(self, project: str, upto_seq: int) -> None:
        state = self._projects[project]
        if state.segments and len(state.segments) == 1 and 0 < state.segments[0].last_seq <= upto_seq:
            self._begin_anew(state)
        while len(state.segments) > 1 and state.segments[0].last_seq <= upto_seq:
            remove(state.segments.pop(0).path)
            # In this order on disk, too: a segment tells which events before it were refused.
            sync_directory(state.directory)

    def _begin_anew(self, state: _ProjectLog) -> None:
        """Starts an empty segment when the only one has no retained events, to preserve the number and the epoch."""
        only = state.segments[0]
        if only.empty:
            return
        if state.descriptor >= 0:
            os.close(state.descriptor)
            state.descriptor = -1
        self._segment_for(state, only.last_seq + 1)


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[[Any], None], value: Any) -> None:
    """Resolves a future from the writer thread."""
    # The loop may already be closed.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle, value)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _of_project(project: str, records: Iterable[Record]) -> list[EventRecord]:
    return [EventRecord(project, *record) for record in records]
