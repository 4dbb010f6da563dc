"""Noticing that something changed, without looking at every file.

Linux queues an inotify event inside the system call that makes the change, so a look at the queue when a
request comes in sees every change that was finished before it. Where that is not to be had, every request
looks at the files.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)


class Watch(Protocol):
    def changed(self) -> bool:
        """True when something may have changed since ``reset``. Never blocks."""
        ...

    def reset(self) -> None:
        """From here on, changes count. Called before the directories are listed."""
        ...

    def add(self, directories: Iterable[Path], *, only_git: bool = False) -> None:
        """``only_git``: git's own directories, where lock files come and go without a meaning."""
        ...

    def close(self) -> None: ...


class EveryTime:
    """Where changes cannot be watched: everything may have changed."""

    def changed(self) -> bool:
        return True

    def reset(self) -> None:
        """Nothing is remembered."""

    def add(self, directories: Iterable[Path], *, only_git: bool = False) -> None:
        """Nothing is watched."""

    def close(self) -> None:
        """Nothing is held."""


def watch() -> Watch:
    """The best watch of this system."""
    if sys.platform != "linux":
        return EveryTime()
    try:
        return _Inotify()
    except OSError as problem:
        log.warning("changes cannot be watched (%s); every request looks at the files", problem)
        return EveryTime()


if sys.platform == "linux":
    from inotify_simple import Event, INotify, flags

    _MASK = (
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

    class _Inotify:
        def __init__(self) -> None:
            self._inotify = INotify()
            self._changed = True
            self._broken = False
            self._git: set[int] = set()

        def changed(self) -> bool:
            if not self._changed:
                self._changed = any(map(self._matters, self._inotify.read(timeout=0)))
            return self._changed or self._broken

        def _matters(self, event: Event) -> bool:
            return event.wd not in self._git or not event.name.endswith(".lock")

        def reset(self) -> None:
            self._inotify.read(timeout=0)
            self._changed = False

        def add(self, directories: Iterable[Path], *, only_git: bool = False) -> None:
            for directory in directories:
                try:
                    descriptor = self._inotify.add_watch(directory, _MASK)
                    if only_git:
                        self._git.add(descriptor)
                except (FileNotFoundError, NotADirectoryError):
                    self._changed = True
                except OSError as problem:
                    if not self._broken:
                        log.warning("%s cannot be watched: %s; every request looks at the files", directory, problem)
                    self._broken = True
                    return

        def close(self) -> None:
            self._inotify.close()
