"""A disk that forgets what was not synced: what `kill -9` cannot show, because the page cache survives it.

``Recorder`` stands in for the module ``os`` and for our ``storage.files``, and records what a program does with files. ``Recording.after_crash`` builds
what the disk may hold when the power fails after any of these operations: of data that was not synced, any sectors in
any order; of names that were not synced, any; all that was synced.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTOR = 512


@dataclass(frozen=True)
class Operation:
    """``kind`` is write, truncate, sync, forget, create, remove, mkdir or sync_names; ``file`` numbers the files.

    After a failed sync the system forgets what it could not write, as Linux does: a later sync does not write it.
    """

    kind: str
    path: str = ""
    file: int = 0
    data: bytes = b""
    at: int = 0


@dataclass
class Recording:
    root: Path
    operations: list[Operation] = field(default_factory=list)
    # What the program had promised, with the number of operations at that time.
    promises: list[tuple[int, Any]] = field(default_factory=list)

    def promise(self, what: Any) -> None:
        self.promises.append((len(self.operations), what))

    def kept(self, after: int) -> list[Any]:
        """What was promised before operation ``after`` ended."""
        return [what for at, what in self.promises if at <= after]

    def crashes(self, seed: int, choose: random.Random, count: int, parent: Path) -> Iterator[tuple[int, Path, str]]:
        """Yields crashes at random moments: after how many operations, the directory with what is left, and a text that
        says how to repeat it."""
        for state in range(count):
            after = choose.randint(0, len(self.operations))
            into = parent / str(state)
            into.mkdir(parents=True)
            self.after_crash(after, seed * 1000 + state, into)
            yield after, into, f"SEED={seed}, after operation {after} of {len(self.operations)}, state {state}"

    def after_crash(self, after: int, seed: int, into: Path) -> None:
        """Writes what may be left after the first ``after`` operations."""
        choose = random.Random(seed)
        contents: dict[int, bytearray] = {}
        unsynced: dict[int, list[Operation]] = {}
        names: dict[str, int | None] = {}
        pending: list[Operation] = []
        for operation in self.operations[:after]:
            if operation.kind in ("write", "truncate"):
                unsynced.setdefault(operation.file, []).append(operation)
            elif operation.kind == "forget":
                _apply_some(contents.setdefault(operation.file, bytearray()), unsynced.pop(operation.file, []), choose)
            elif operation.kind == "sync":
                for each in unsynced.pop(operation.file, []):
                    _apply(contents.setdefault(operation.file, bytearray()), each)
            elif operation.kind == "sync_names":
                for each in [each for each in pending if str(Path(each.path).parent) == operation.path]:
                    names[each.path] = None if each.kind == "remove" else each.file
                    pending.remove(each)
            else:
                pending.append(operation)
        for each in pending:
            if choose.random() < 0.5:
                names[each.path] = None if each.kind == "remove" else each.file
        for file, operations in unsynced.items():
            _apply_some(contents.setdefault(file, bytearray()), operations, choose)
        for path in sorted(names):
            target = into / Path(path).relative_to(self.root)
            file_number = names[path]
            if file_number == 0:
                target.mkdir(parents=True, exist_ok=True)
            elif file_number is not None and target.parent.is_dir():
                target.write_bytes(contents.get(file_number, b""))


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind == "truncate":
        del content[operation.at :]
        return
    if len(content) < operation.at:
        content.extend(bytes(operation.at - len(content)))
    content[operation.at : operation.at + len(operation.data)] = operation.data


def _apply_some(content: bytearray, operations: list[Operation], choose: random.Random) -> None:
    """Applies parts of what was not synced: whole sectors, in any order; holes read as zeros."""
    parts: list[Operation] = []
    for operation in operations:
        if operation.kind == "truncate":
            parts.append(operation)
            continue
        begin = operation.at
        end = begin + len(operation.data)
        while begin < end:
            stop = min(end, (begin // SECTOR + 1) * SECTOR)
            data = operation.data[begin - operation.at : stop - operation.at]
            parts.append(Operation("write", file=operation.file, data=data, at=begin))
            begin = stop
    choose.shuffle(parts)
    share = choose.choice((0.0, 0.3, 0.7, 1.0))
    for part in parts:
        if choose.random() < share:
            if part.data and share < 1 and choose.random() < 0.2:
                part = Operation(
                    "write", file=part.file, data=part.data[: choose.randrange(len(part.data))], at=part.at
                )
            _apply(content, part)


class Recorder:
    """The module ``os``, for a program that opens, writes, syncs and removes files below ``recording.root``.

    ``fail`` maps the numbers of operations to error numbers: these operations raise OSError.
    """

    def __init__(self, recording: Recording, fail: dict[int, int] | None = None) -> None:
        self._recording = recording
        self._fail = fail or {}
        self._files: dict[int, tuple[int, str]] = {}
        self._number = 0
        self._attempts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _attempt(self) -> None:
        self._attempts += 1
        if self._attempts in self._fail:
            code = self._fail[self._attempts]
            raise OSError(code, os.strerror(code))

    def _record(self, kind: str, **more: Any) -> None:
        self._recording.operations.append(Operation(kind, **more))

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        self._attempt()
        descriptor = os.open(path, flags, mode)
        self._number += 1
        self._files[descriptor] = (self._number, str(path))
        if flags & os.O_CREAT:
            self._record("create", path=str(path), file=self._number)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._files.pop(descriptor, None)
        os.close(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        self._attempt()
        at = os.fstat(descriptor).st_size
        self._record("write", file=self._files[descriptor][0], data=bytes(data), at=at)
        return os.write(descriptor, data)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._attempt()
        self._record("truncate", file=self._files[descriptor][0], at=size)
        os.ftruncate(descriptor, size)

    def fdatasync(self, descriptor: int) -> None:
        file = self._files[descriptor][0]
        try:
            self._attempt()
        except OSError:
            self._record("forget", file=file)
            raise
        self._record("sync", file=file)

    fsync = fdatasync

    def remove(self, path: Path) -> None:
        self._attempt()
        self._record("remove", path=str(path))
        path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        self._attempt()
        self._record("mkdir", path=str(path), file=0)
        path.mkdir(0o700, exist_ok=True)
        self.sync_directory(path.parent)

    def sync_directory(self, path: Any) -> None:
        self._attempt()
        self._record("sync_names", path=str(path))


FAULTS = (errno.ENOSPC, errno.EIO)
