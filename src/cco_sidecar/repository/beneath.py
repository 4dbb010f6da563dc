"""Opening files of a project whose directories may become links at any moment: an agent works in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePath


def open_beneath(root: Path, name: str) -> int:
    """A descriptor of the regular file ``name`` in ``root``; no part of the way to it is a link. Raises OSError."""
    *directories, last = PurePath(name).parts
    if ".." in (*directories, last):
        raise OSError(f"{name} is not beneath {root}")
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in directories:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=place)
            os.close(place)
            place = inner
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is not a regular file")
    return descriptor
