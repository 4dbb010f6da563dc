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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cco_sidecar.storage.eventlog import segment as segments
from cco_sidecar.storage.eventlog.base import EventRecord, NewEvent, OpenedLog
from cco_sidecar.storage.eventlog.segment import Header, Record, encoded, new_header, read_header
from cco_sidecar.storage.files import make_directory, remove, sync_directory

log = logging.getLogger(__name__)

_SEGMENT_BYTES = 8 * 2**20


@dataclass(slots=True)
class _Segment:
    path: Path
    header: Header | None
    last_seq: int = 0
    size: int = 0

    @property
    def empty(self) -> bool:
        return self.header is None or self.size <= self.header.size


@dataclass(slots=True)
class _ProjectLog:
    directory: Path
    epoch: str
    next_seq: int = 1
    # The newest event that was acknowledged.
    acknowledged: int = 0
    # The directory is known to be on disk.
    made: bool = False
    segments: list[_Segment] = field(default_factory=list)
    descriptor: int = -1


_PROBE_BYTES = 64 * 1024


class SegmentLog:
    """Implements EventLog in local files, for one process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._projects: dict[str, _ProjectLog] = {}
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
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
        """Reads a project's segments. This blocks the event loop, so existing logs are opened at startup."""
        directory = self._directory / project
        records: list[EventRecord] = []
        state = _ProjectLog(directory, "")
        head = after = 0
        for path in sorted(directory.glob("*.log")) if directory.is_dir() else []:
            data = path.read_bytes()
            header = read_header(data)
            segment = _Segment(path, header, size=len(data))
            if header is None:
                log.error("event log: skipping %s: its header is missing or damaged", path)
            else:
                state.epoch = header.epoch
                after = header.after or after
                while header.after is not None and records and records[-1].seq > header.after:
                    # Its batch was refused, and the disk refused to remove it.
                    records.pop()
                for record in segments.records(header, data, partial(_report, path, len(data))):
                    if not records or record.seq > records[-1].seq:
                        records.append(EventRecord(project, *record))
                    segment.last_seq = record.seq
            # A segment without a complete record still used up the number in its name.
            head = max(head, segment.last_seq, int(path.stem) if path.stem.isdigit() else 0)
            state.segments.append(segment)
        state.epoch = state.epoch or secrets.token_hex(4)
        state.next_seq = head + 1
        state.acknowledged = max(after, records[-1].seq if records else 0)
        self._projects[project] = state
        return OpenedLog(state.epoch, head, records)

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
        written: list[tuple[_ProjectLog, _Segment, int, int]] = []
        try:
            for project, records in by_project.items():
                state = self._projects[project]
                segment = self._segment_for(state, records[0].seq)
                assert segment.header is not None
                data = b"".join(encoded(segment.header, record) for record in records)
                written.append((state, segment, len(data), records[-1].seq))
                _write_all(state.descriptor, data)
                os.fdatasync(state.descriptor)
        except Exception:
            # No event of a failed batch may reappear after a restart: truncate the segment and start another.
            for state, segment, _, _ in written:
                self._abandon(state, segment)
            raise
        for state, segment, size, last in written:
            segment.size += size
            segment.last_seq = state.acknowledged = last
        return numbers

    def _segment_for(self, state: _ProjectLog, first_seq: int) -> _Segment:
        if state.descriptor >= 0 and state.segments[-1].size < _SEGMENT_BYTES:
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
        state.segments.append(_Segment(path, header, last_seq=first_seq - 1, size=header.size))
        return state.segments[-1]

    def _abandon(self, state: _ProjectLog, segment: _Segment) -> None:
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


def _report(path: Path, size: int, begin: int, end: int) -> None:
    if end == size:
        log.warning("event log: %s ends with %d bytes of an incomplete write", path, end - begin)
    else:
        log.error("event log: %s is damaged from byte %d to %d", path, begin, end)
