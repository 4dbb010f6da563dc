"""Opens files of a project safely, although an agent may replace its directories with links at any time."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from pathlib import Path, PurePath

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_beneath(root: Path, name: str) -> int:
    """Opens the regular file ``name`` beneath ``root`` without following links, and returns its descriptor.

    Raises OSError.
    """
    if name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise OSError(f"{name} is not beneath {root}")
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = _open_at(place, name)
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{name} is not a regular file")
    return descriptor


def _step_by_step(place: int, name: str) -> int:
    """Opens a file beneath a directory, one directory after the other."""
    *directories, last = PurePath(name).parts
    opened = os.dup(place)
    try:
        for part in directories:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened)
            os.close(opened)
            opened = inner
        return os.open(last, _OPEN, dir_fd=opened)
    finally:
        os.close(opened)


if sys.platform == "linux":
    # linux/openat2.h: resolves beneath the directory, and through no link.
    _OPENAT2 = 437
    _NO_SYMLINKS, _BENEATH = 0x04, 0x08

    class _How(ctypes.Structure):
        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    _how = _How(_OPEN, 0, _NO_SYMLINKS | _BENEATH)
    _syscall = ctypes.CDLL(None, use_errno=True).syscall
    _syscall.restype = ctypes.c_long
    # Linux before 5.6, and sandboxes that do not know the call.
    _UNAVAILABLE = (errno.ENOSYS, errno.EPERM)

    def _open_at(place: int, name: str) -> int:
        """Opens a file beneath a directory by one call of openat2(2), where there is one."""
        descriptor = int(
            _syscall(_OPENAT2, place, os.fsencode(name), ctypes.byref(_how), ctypes.c_size_t(ctypes.sizeof(_how)))
        )
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number in _UNAVAILABLE:
            return _step_by_step(place, name)
        raise OSError(number, os.strerror(number), name)

else:
    _open_at = _step_by_step
