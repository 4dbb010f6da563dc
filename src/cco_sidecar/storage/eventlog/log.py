"""The event log on disk: one directory per project, segments of checksummed records, one writer thread.

A segment is ``CCOEVT1\\n``, 4 bytes of epoch, and records. A record is ``<u32 length, u32 crc32>`` and a payload of
``<u64 seq, u64 microseconds, u32 ttl seconds>`` and a serialised ``orchestra.v1.Event``. A new process never appends to
an old segment, so a torn tail is simply where a segment ends. A batch costs one write and one fdatasync per project.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import secrets
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cco_sidecar.storage.base import EventRecord, NewEvent, OpenedLog
from cco_sidecar.storage.files import sync_directory

log = logging.getLogger(__name__)

MAGIC = b"CCOEVT1\n"
_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<QQI")
_HEADER_BYTES = len(MAGIC) + 4
_SEGMENT_BYTES = 8 * 2**20
_MAX_RECORD = 4 * 2**20


@dataclass(slots=True)
class _Segment:
    path: Path
    last_seq: int = 0
    size: int = 0


@dataclass(slots=True)
class _ProjectLog:
    directory: Path
    epoch: str
    next_seq: int = 1
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
        head = 0
        for path in sorted(directory.glob("*.log")) if directory.is_dir() else []:
            segment = _Segment(path, size=path.stat().st_size)
            state.epoch = _epoch_of(path) or state.epoch
            for epoch, record in _read_segment(path, project):
                state.epoch = epoch
                if not records or record.seq > records[-1].seq:
                    records.append(record)
                segment.last_seq = record.seq
            # A segment without a complete record still used up the number in its name.
            head = max(head, segment.last_seq, int(path.stem) if path.stem.isdigit() else 0)
            state.segments.append(segment)
        state.epoch = state.epoch or secrets.token_hex(4)
        state.next_seq = head + 1
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
        by_project: dict[str, list[EventRecord]] = {}
        for event in events:
            state = self._projects[event.project]
            numbers.append(state.next_seq)
            record = EventRecord(event.project, state.next_seq, event.micros, event.ttl, event.payload)
            by_project.setdefault(event.project, []).append(record)
            state.next_seq += 1
        written: list[tuple[_ProjectLog, _Segment, int]] = []
        try:
            for project, records in by_project.items():
                state = self._projects[project]
                segment = self._segment_for(state, records[0].seq)
                written.append((state, segment, segment.size))
                data = b"".join(_frame(record) for record in records)
                _write_all(state.descriptor, data)
                os.fdatasync(state.descriptor)
                segment.size += len(data)
                segment.last_seq = records[-1].seq
        except Exception:
            # No event of a failed batch may reappear after a restart: truncate the segment and start another.
            for state, segment, size in written:
                self._abandon(state, segment, size)
            raise
        return numbers

    def _segment_for(self, state: _ProjectLog, first_seq: int) -> _Segment:
        if state.descriptor >= 0 and state.segments[-1].size < _SEGMENT_BYTES:
            return state.segments[-1]
        if state.descriptor >= 0:
            os.close(state.descriptor)
            state.descriptor = -1
        if not state.directory.is_dir():
            state.directory.mkdir(mode=0o700)
            sync_directory(self._directory)
        path = state.directory / f"{first_seq:016d}.log"
        header = MAGIC + bytes.fromhex(state.epoch)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, header)
            sync_directory(state.directory)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        state.descriptor = descriptor
        state.segments.append(_Segment(path, last_seq=first_seq - 1, size=len(header)))
        return state.segments[-1]

    def _abandon(self, state: _ProjectLog, segment: _Segment, size: int) -> None:
        try:
            os.ftruncate(state.descriptor, size)
            os.fsync(state.descriptor)
        except OSError as problem:
            log.error("event log: cannot truncate %s to %d bytes: %s", segment.path, size, problem)
        if state.descriptor >= 0:
            os.close(state.descriptor)
        state.descriptor = -1

    def _trim(self, project: str, upto_seq: int) -> None:
        state = self._projects[project]
        if state.segments and len(state.segments) == 1 and 0 < state.segments[0].last_seq <= upto_seq:
            self._begin_anew(state)
        while len(state.segments) > 1 and state.segments[0].last_seq <= upto_seq:
            state.segments.pop(0).path.unlink(missing_ok=True)

    def _begin_anew(self, state: _ProjectLog) -> None:
        """Starts an empty segment when the only one has no retained events, to preserve the number and the epoch."""
        only = state.segments[0]
        if only.size <= _HEADER_BYTES:
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


def _frame(record: EventRecord) -> bytes:
    body = _HEAD.pack(record.seq, record.micros, record.ttl) + record.payload
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _epoch_of(path: Path) -> str:
    """Returns the epoch in a segment's header; empty if the header is missing."""
    with open(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
    return head[len(MAGIC) :].hex() if len(head) == _HEADER_BYTES and head.startswith(MAGIC) else ""


def _read_segment(path: Path, project: str) -> Iterator[tuple[str, EventRecord]]:
    data = path.read_bytes()
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + 4:
        log.warning("event log: skipping %s: no valid header", path)
        return
    epoch = data[len(MAGIC) : len(MAGIC) + 4].hex()
    offset, bad_from = len(MAGIC) + 4, -1
    while offset + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, offset)
        start = offset + _FRAME.size
        plausible = _HEAD.size <= length <= min(_MAX_RECORD, len(data) - start)
        body = data[start : start + length] if plausible else b""
        if plausible and zlib.crc32(body) == crc:
            if bad_from >= 0:
                log.error("event log: %s is damaged from byte %d to %d", path, bad_from, offset)
                bad_from = -1
            seq, micros, ttl = _HEAD.unpack_from(body)
            yield epoch, EventRecord(project, seq, micros, ttl, body[_HEAD.size :])
            offset = start + length
        else:
            # A torn tail or damage. A later record with a valid checksum is still an event.
            bad_from = offset if bad_from < 0 else bad_from
            offset += 1
    if bad_from >= 0:
        log.warning("event log: %s ends with %d bytes of an incomplete write", path, len(data) - bad_from)
