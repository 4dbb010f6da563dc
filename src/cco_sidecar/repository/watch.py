"""Detects changes without checking every file.

Linux queues an inotify event inside the system call that makes the change. Reading the queue when a request arrives
therefore shows every change completed before it. The server reads the queue; the worker, which reads the files, adds
watches to it. Without inotify, every request scans the files.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

NO_QUEUE = -1
# The most watches with events that the worker has added but not yet reported.
_MAX_UNKNOWN = 100_000
_OVERFLOW = -1
# linux/inotify.h: the watch was removed.
_IGNORED = 0x8000


class Watched(NamedTuple):
    """The watch descriptors of a scan.

    ``git`` are those of git's own directories, where lock files are ignored. ``complete`` is False if something could
    not be watched.
    """

    ours: frozenset[int]
    git: frozenset[int]
    complete: bool


class Queue:
    """The server side: one inotify queue for all directories of all projects. Not thread-safe."""

    def __init__(self) -> None:
        self._inotify = _open()
        # Watch descriptor -> keys of the projects that use it -> whether it is a git directory.
        self._owners: dict[int, dict[str, bool]] = {}
        self._changed: set[str] = set()
        self._incomplete: set[str] = set()
        self._unknown: set[int] = set()

    @property
    def descriptor(self) -> int:
        """The inotify descriptor for the worker, or NO_QUEUE."""
        return self._inotify.fileno() if self._inotify is not None else NO_QUEUE

    def changed(self, key: str) -> bool:
        """Reports whether a project may have changed since ``begin``. Never blocks."""
        if self._inotify is None:
            return True
        self._read()
        return key in self._changed or key in self._incomplete

    def begin(self, key: str) -> None:
        """Starts a scan: later changes count. Must be called before the directories are listed."""
        self._read()
        self._changed.discard(key)
        self._incomplete.discard(key)

    def finish(self, key: str, watched: Watched) -> None:
        """Ends a scan and registers its watches. Changes since ``begin`` count."""
        self._read()
        for descriptors, is_git in ((watched.ours, False), (watched.git, True)):
            for descriptor in descriptors:
                self._owners.setdefault(descriptor, {})[key] = is_git
        if self._unknown & (watched.ours | watched.git):
            self._changed.add(key)
        self._unknown -= watched.ours | watched.git
        if not watched.complete:
            self._incomplete.add(key)

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()

    def _read(self) -> None:
        if self._inotify is None:
            return
        for event in self._inotify.read(timeout=0):
            if event.wd == _OVERFLOW:
                self._changed.update(key for owners in self._owners.values() for key in owners)
                continue
            owners = self._owners.get(event.wd)
            if owners is None:
                self._unknown.add(event.wd)
                if len(self._unknown) > _MAX_UNKNOWN:
                    self._unknown.clear()
                    self._changed.update(key for known in self._owners.values() for key in known)
                continue
            self._changed.update(key for key, is_git in owners.items() if not (is_git and event.name.endswith(".lock")))
            if event.mask & _IGNORED:
                # The watched directory is gone, and the kernel does not reuse its descriptor.
                del self._owners[event.wd]


class Marker:
    """The worker side: adds watches while directories are listed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ours: set[int] = set()
        self._git: set[int] = set()
        self._complete = descriptor != NO_QUEUE

    def add(self, directories: Iterable[Path], *, only_git: bool = False) -> None:
        for directory in directories if self._complete else ():
            try:
                found = _add_watch(self._descriptor, directory)
            except (FileNotFoundError, NotADirectoryError):
                # It was deleted during the scan: scan again on the next request.
                self._complete = False
            except OSError as problem:
                log.warning("cannot watch %s: %s; every request will scan the files", directory, problem)
                self._complete = False
            else:
                (self._git if only_git else self._ours).add(found)

    def watched(self) -> Watched:
        return Watched(frozenset(self._ours), frozenset(self._git - self._ours), self._complete)


if sys.platform == "linux":
    from inotify_simple import INotify, flags

    _MASK = int(
        flags.CREATE
        | flags.DELETE
        | flags.MODIFY
        | flags.ATTRIB
        | flags.MOVED_FROM
        | flags.MOVED_TO
        | flags.DELETE_SELF
        | flags.MOVE_SELF
        | flags.ONLYDIR
        | flags.DONT_FOLLOW
    )
    _libc = ctypes.CDLL(None, use_errno=True)

    def _open() -> INotify | None:
        try:
            return INotify()
        except OSError as problem:
            log.warning("cannot watch for changes: %s; every request will scan the files", problem)
            return None

    def _add_watch(descriptor: int, path: Path) -> int:
        found = int(_libc.inotify_add_watch(descriptor, os.fsencode(path), _MASK))
        if found < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
        return found

else:

    def _open() -> None:
        return None

    def _add_watch(descriptor: int, path: Path) -> int:
        raise OSError("inotify is not available on this platform")
