"""SQLite on the disk of ``crashing_disk``: a VFS (sqlite.org/vfs.html) in front of the system's own, through ctypes."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.crashing_disk import Operation, Recording

# sqlite.org/c3ref/c_open_autoproxy.html and sqlite.org/rescode.html
_OPEN_CREATE = 0x4
_OPEN_MAIN_JOURNAL = 0x800
_OPEN_WAL = 0x80000
_FULL = 13
_IOERR_WRITE = 778
_IOERR_FSYNC = 1034
_IOERR_TRUNCATE = 1546

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_WRITE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(_INT, _POINTER, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(_INT, _POINTER, _INT)
_CLOSE = ctypes.CFUNCTYPE(_INT, _POINTER)
_OPEN = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _POINTER, _INT, _POINTER)
_DELETE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = [
        ("iVersion", _INT),
        ("xClose", _CLOSE),
        ("xRead", _POINTER),
        ("xWrite", _WRITE),
        ("xTruncate", _TRUNCATE),
        ("xSync", _SYNC),
        ("rest", _POINTER * 12),
    ]


class _File(ctypes.Structure):
    """sqlite3_file."""

    _fields_ = [("pMethods", ctypes.POINTER(_Methods))]


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        ("iVersion", _INT),
        ("szOsFile", _INT),
        ("mxPathname", _INT),
        ("pNext", _POINTER),
        ("zName", ctypes.c_char_p),
        ("pAppData", _POINTER),
        ("xOpen", _OPEN),
        ("xDelete", _DELETE),
        ("rest", _POINTER * 13),
    ]


class CrashingVfs:
    """Records what SQLite does to files in a recording. ``fail`` maps the numbers of operations to error numbers."""

    def __init__(self, recording: Recording, fail: dict[int, int]) -> None:
        self._recording = recording
        self._fail = fail
        self._attempts = 0
        self._failing = ""
        self._made = 0
        self._numbers: dict[Path, int] = {}
        # By the address of the file: its number, its path, and whether its first sync also makes its name durable.
        self._files: dict[int, tuple[int, Path, bool]] = {}
        self._kept: dict[int, tuple[_Methods, _Methods]] = {}
        self._library = ctypes.CDLL(_library())
        self._library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._original = self._library.sqlite3_vfs_find(None).contents
        self._vfs = _Vfs.from_buffer_copy(self._original)
        self._vfs.zName = b"crashing"
        self._vfs.xOpen = _OPEN(self._open)
        self._vfs.xDelete = _DELETE(self._delete)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Connections that are opened meanwhile use it."""
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == 0
        try:
            yield
        finally:
            self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def fail_next(self, kind: str) -> None:
        """The next operation of a kind fails."""
        self._failing = kind

    def _record(self, kind: str, **more: Any) -> None:
        self._recording.operations.append(Operation(kind, **more))

    def _fails(self, kind: str, code: int) -> int:
        """Counts an operation and returns its SQLite error; 0 if it shall work."""
        self._attempts += 1
        if self._failing == kind:
            self._failing = ""
            return code
        number = self._fail.get(self._attempts)
        if number is None:
            return 0
        # As the system's own VFS: only a write says that the disk is full.
        return _FULL if number == errno.ENOSPC and kind == "write" else code

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        path = Path(ctypes.string_at(name).decode()) if name else None
        made = path is not None and flags & _OPEN_CREATE and not path.exists()
        result = int(self._original.xOpen(vfs, name, file, flags, out))
        if result or path is None:
            return result
        if made:
            self._made += 1
            self._numbers[path] = self._made
        number = self._numbers[path]
        # SQLite's system layer syncs the directory with a new journal.
        journal = bool(flags & (_OPEN_MAIN_JOURNAL | _OPEN_WAL))
        self._files[file] = (number, path, bool(made) and journal)
        if made:
            self._record("create", path=str(path), file=number)
        self._wrap(file)
        return 0

    def _wrap(self, file: int) -> None:
        opened = _File.from_address(file)
        address = ctypes.addressof(opened.pMethods.contents)
        if address not in self._kept:
            original = _Methods.from_address(address)
            wrapped = _Methods.from_buffer_copy(original)
            wrapped.xClose = _CLOSE(self._close)
            wrapped.xWrite = _WRITE(self._write)
            wrapped.xTruncate = _TRUNCATE(self._truncate)
            wrapped.xSync = _SYNC(self._sync)
            self._kept[address] = (original, wrapped)
        opened.pMethods = ctypes.pointer(self._kept[address][1])

    def _methods(self, file: int) -> _Methods:
        wrapped = ctypes.addressof(_File.from_address(file).pMethods.contents)
        return next(original for original, own in self._kept.values() if ctypes.addressof(own) == wrapped)

    def _close(self, file: int) -> int:
        original = self._methods(file)
        del self._files[file]
        return int(original.xClose(file))

    def _write(self, file: int, data: int, size: int, at: int) -> int:
        if error := self._fails("write", _IOERR_WRITE):
            return error
        self._record("write", file=self._files[file][0], data=ctypes.string_at(data, size), at=at)
        return int(self._methods(file).xWrite(file, data, size, at))

    def _truncate(self, file: int, size: int) -> int:
        if error := self._fails("truncate", _IOERR_TRUNCATE):
            return error
        self._record("truncate", file=self._files[file][0], at=size)
        return int(self._methods(file).xTruncate(file, size))

    def _sync(self, file: int, flags: int) -> int:
        number, path, named = self._files[file]
        if error := self._fails("sync", _IOERR_FSYNC):
            self._record("forget", file=number)
            return error
        self._record("sync", file=number)
        if named:
            self._record("sync_names", path=str(path.parent))
            self._files[file] = (number, path, False)
        return 0

    def _delete(self, vfs: int, name: int, synced: int) -> int:
        path = Path(ctypes.string_at(name).decode())
        if path.exists():
            self._record("remove", path=str(path))
            if synced:
                self._record("sync_names", path=str(path.parent))
        return int(self._original.xDelete(vfs, name, synced))


def _library() -> str:
    """Returns the path of the SQLite that Python's module uses."""
    sqlite3.connect(":memory:").close()
    found = re.search(r"/\S*libsqlite3\.so\S*", Path("/proc/self/maps").read_text())
    if found is None:
        pytest.skip("this Python has SQLite built in")
    return found[0]
