"""Opens files of a project safely, although an agent may replace its directories with links at any time."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePath


def open_beneath(root: Path, name: str) -> int:
    """Opens the regular file ``name`` beneath ``root`` without following links, and returns its descriptor.

    Raises OSError.
    """
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
