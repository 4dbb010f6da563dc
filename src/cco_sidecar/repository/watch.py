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
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

NO_QUEUE = -1
# The most watches with events that the worker has added but not yet reported.
_MAX_UNKNOWN = 100_000
_OVERFLOW = -1
# linux/inotify.h: the watch was removed; the event is about a directory.
_IGNORED, _IS_DIRECTORY = 0x8000, 0x40000000
# Files that decide about others, by name: git reads them.
_DECIDING = frozenset((".git", ".gitignore", ".gitattributes", ".gitmodules"))
# With more changed paths than this, all files are looked at.
_MOST_PATHS = 100
# What changed, if it is not known by path.
_ANYTHING = None


class Watched(NamedTuple):
    """The watch descriptors of a scan, with the paths of their directories from the root, which ends with a slash
    unless it is empty.

    ``git`` are those of git's own directories, where lock files are ignored. ``complete`` is False if something could
    not be watched.
    """

    ours: Mapping[int, str]
    git: frozenset[int]
    complete: bool


class Queue:
    """The server side: one inotify queue for all directories of all projects. Not thread-safe."""

    def __init__(self) -> None:
        self._inotify = _open()
        # Watch descriptor -> keys of the projects that use it -> the path of the directory; None for one of git's.
        self._owners: dict[int, dict[str, str | None]] = {}
        self._changed: dict[str, set[str] | None] = {}
        self._incomplete: set[str] = set()
        # Projects whose scan has begun and not ended: their watches are not known yet.
        self._scanning: set[str] = set()
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

    def begin(self, key: str) -> frozenset[str] | None:
        """Starts a scan: later changes count. Must be called before the directories are listed.

        Returns the paths of the files that may have changed since the last scan began; None if anything may have.
        """
        if self._inotify is None:
            return _ANYTHING
        self._read()
        paths = self._changed.pop(key, set())
        self._scanning.add(key)
        incomplete = key in self._incomplete
        return _ANYTHING if paths is None or incomplete else frozenset(paths)

    def finish(self, key: str, watched: Watched | None) -> None:
        """Ends a scan and registers its watches; None if they are still the same. Changes since ``begin`` count."""
        self._read()
        self._scanning.discard(key)
        if watched is None:
            return
        for descriptor, place in (*watched.ours.items(), *dict.fromkeys(watched.git).items()):
            self._owners.setdefault(descriptor, {})[key] = place
            if descriptor in self._unknown:
                self._unknown.remove(descriptor)
                self._changed[key] = _ANYTHING
        if watched.complete:
            self._incomplete.discard(key)
        else:
            self._incomplete.add(key)

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()

    def _read(self) -> None:
        if self._inotify is None:
            return
        for event in self._inotify.read(timeout=0):
            if event.wd == _OVERFLOW:
                self._all_changed()
                continue
            owners = self._owners.get(event.wd)
            if owners is None:
                self._unknown.add(event.wd)
                if len(self._unknown) > _MAX_UNKNOWN:
                    self._unknown.clear()
                    self._all_changed()
                continue
            named = bool(event.name) and not event.mask & _IS_DIRECTORY and event.name not in _DECIDING
            for key, place in owners.items():
                if place is not None:
                    self._add(key, place + event.name if named else _ANYTHING)
                elif not event.name.endswith(".lock"):
                    self._add(key, _ANYTHING)
            if event.mask & _IGNORED:
                # The watched directory is gone, and the kernel does not reuse its descriptor.
                del self._owners[event.wd]

    def _add(self, key: str, path: str | None) -> None:
        paths = self._changed.setdefault(key, set())
        if paths is not None:
            if path is None or len(paths) >= _MOST_PATHS:
                self._changed[key] = _ANYTHING
            else:
                paths.add(path)

    def _all_changed(self) -> None:
        self._changed.update(dict.fromkeys(self._scanning))
        for owners in self._owners.values():
            self._changed.update(dict.fromkeys(owners))


class Marker:
    """The worker side: adds watches while directories are listed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ours: dict[int, str] = {}
        self._git: set[int] = set()
        self._complete = descriptor != NO_QUEUE

    def add(self, directory: Path, path: str) -> None:
        """Watches a directory of the project; ``path``: from the root, as in Watched."""
        if (found := self._watch(directory)) is not None:
            self._ours[found] = path

    def add_git(self, directory: Path) -> None:
        """Watches a directory of git's, or one above the root."""
        if (found := self._watch(directory)) is not None:
            self._git.add(found)

    def _watch(self, directory: Path) -> int | None:
        if not self._complete:
            return None
        try:
            return _add_watch(self._descriptor, directory)
        except (FileNotFoundError, NotADirectoryError):
            # It was deleted during the scan: scan again on the next request.
            self._complete = False
        except OSError as problem:
            log.warning("cannot watch %s: %s; every request will scan the files", directory, problem)
            self._complete = False
        return None

    def watched(self) -> Watched:
        # Git's directory may stand in the tree under another name than .git.
        ours = {found: path for found, path in self._ours.items() if found not in self._git}
        return Watched(ours, frozenset(self._git), self._complete)


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
