"""Reads the CRI log lines that the shim writes, and joins the parts of long lines."""

from __future__ import annotations

import asyncio
import math
import os
import re
import stat
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError
from orchestra.v1.agent_service_pb2 import LogLine

_BLOCK = 256 * 1024
# Size of one batch of lines in a stream, and characters of a line: clients accept messages of 4 MiB unless told
# otherwise (grpc.max_receive_message_length).
_BATCH_BYTES = 512 * 1024
_MAX_TEXT = 512 * 1024
_LINE_OVERHEAD = 32
# A shim writes a line in parts of a fraction of that; what is longer was not written by one.
_LONGEST_PART = 4 * 2**20
# What a line may take in memory; the rest of it is another line.
_LONGEST_LINE = 64 * 2**20
# Enough for several of the shim's longest lines.
_TAIL_BYTES = 512 * 1024
_MAX_SHOWN = 2000
_WHOLE_LINE = re.compile(rb"^\S+ \S+ F ", re.MULTILINE)
# Poll interval where inotify is not available.
_LOOK_SECONDS = 0.25


class Line(NamedTuple):
    """One log line; ``timestamp`` is RFC 3339, ``stream`` is ``stdout`` or ``stderr``."""

    timestamp: str
    stream: str
    text: str

    def message(self) -> LogLine:
        """Converts the line to its protobuf message. Raises SidecarError for an invalid timestamp."""
        return LogLine(timestamp=codec.parse_rfc3339(self.timestamp, "timestamp"), stream=self.stream, text=self.text)


class LogReader:
    """Reads lines incrementally: each read continues where the last one stopped. A missing file has no lines. Not
    thread-safe."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset
        self._rest = b""
        self._skipping = False
        self._parts: dict[bytes, bytearray] = {}

    def read(self) -> Iterator[Line]:
        """Yields the complete lines that were written since the last call."""
        with suppress(FileNotFoundError), open(self._path, "rb", opener=_regular) as file:
            file.seek(self._offset)
            while block := file.read(_BLOCK):
                self._offset += len(block)
                *lines, self._rest = (self._rest + block).split(b"\n")
                for line in lines:
                    if not self._skipping:
                        yield from self._line(line)
                    self._skipping = False
                if len(self._rest) > _LONGEST_PART:
                    self._rest, self._skipping = b"", True

    def _line(self, line: bytes) -> Iterator[Line]:
        timestamp, _, rest = line.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if tag not in (b"P", b"F") or stream not in (b"stdout", b"stderr"):
            return
        parts = self._parts.setdefault(stream, bytearray())
        parts += text
        if tag == b"F" or len(parts) > _LONGEST_LINE:
            # Decode only the whole line: a part may end in the middle of a character.
            del self._parts[stream]
            yield Line(*(each.decode(errors="replace") for each in (timestamp, stream, parts)))


def _regular(path: str, flags: int) -> int:
    """Opens regular files only: opening a FIFO in their place would block."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor


def last_lines(path: Path, count: int) -> list[str]:
    """Returns the last ``count`` lines of both streams, each cut to 2000 characters."""
    try:
        start = max(0, path.stat().st_size - _TAIL_BYTES)
    except FileNotFoundError:
        return []
    lines = deque(LogReader(path, start).read(), maxlen=count)
    return [line.text[:_MAX_SHOWN] for line in lines]


def tail_offset(path: Path, count: int) -> int:
    """Returns an offset from which the last ``count`` lines can be read, without reading the whole file."""
    with suppress(FileNotFoundError), open(path, "rb", opener=_regular) as file:
        position, found = file.seek(0, os.SEEK_END), 0
        while position and found <= count:
            start = max(0, position - _BLOCK)
            file.seek(start)
            block = file.read(position - start)
            # The text before the first line end may be part of a line and is not counted: rather too much is read than
            # too little.
            found += len(_WHOLE_LINE.findall(block, block.find(b"\n") + 1 if start else 0))
            position = start
        return position
    return 0


def batches(reader: LogReader, tail: int | None = None) -> Iterator[list[LogLine]]:
    """Yields the available lines in batches of bounded size; only the last ``tail`` lines if given. A line that no
    message can hold is continued as another."""
    batch: list[LogLine] = []
    size = 0
    lines = chain.from_iterable(map(_pieces, reader.read()))
    for line in lines if tail is None else deque(lines, maxlen=tail):
        message = _message(line)
        if message is None:
            continue
        batch.append(message)
        size += len(line.text) + _LINE_OVERHEAD
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def follow(
    path: Path,
    reader: LogReader,
    ended: Callable[[], bool],
    changed: asyncio.Event | None = None,
    idle_seconds: float = math.inf,
) -> AsyncIterator[list[LogLine]]:
    """Yields batches of lines as they are written, until ``ended`` returns true and all lines are read. ``changed``:
    set when ``ended`` may have changed; otherwise it is called about every second. After ``idle_seconds`` without a
    line, yields an empty batch."""
    spoke = time.monotonic()
    async with _Changes(path, changed or asyncio.Event()) as changes:
        while True:
            last = ended()
            found = batches(reader)
            while (batch := await asyncio.to_thread(next, found, None)) is not None:
                yield batch
                spoke = time.monotonic()
            if last:
                return
            if time.monotonic() - spoke >= idle_seconds:
                yield []
                spoke = time.monotonic()
            await changes.wait()


def _pieces(line: Line) -> Iterator[Line]:
    for start in range(0, len(line.text) or 1, _MAX_TEXT):
        yield line._replace(text=line.text[start : start + _MAX_TEXT])


def _message(line: Line) -> LogLine | None:
    try:
        return line.message()
    except SidecarError:
        # The line was cut by a full disk.
        return None


class _Changes:
    """Waits for writes to a file, with a timeout because its writer may have ended."""

    def __init__(self, path: Path, changed: asyncio.Event) -> None:
        self._path = path
        self._changed = changed
        self._watch: Any = None
        self._watching = False

    async def __aenter__(self) -> _Changes:
        if sys.platform == "linux":
            from inotify_simple import INotify

            # If no inotify instance is available, the file is polled instead.
            with suppress(OSError):
                self._watch = INotify(nonblocking=True)
                asyncio.get_running_loop().add_reader(self._watch.fileno(), self._wake)
        return self

    def _wake(self) -> None:
        self._watch.read(timeout=0)
        self._changed.set()

    async def wait(self) -> None:
        if self._watch is not None and not self._watching:
            from inotify_simple import flags

            # The file may not exist yet.
            with suppress(OSError):
                self._watch.add_watch(self._path, flags.MODIFY)
                self._watching = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), 1.0 if self._watching else _LOOK_SECONDS)
        self._changed.clear()

    async def __aexit__(self, *_: object) -> None:
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
