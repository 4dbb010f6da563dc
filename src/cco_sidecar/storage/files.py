"""Atomic file writes (write, fsync, rename, fsync the directory), and the lock of the storage directory."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from pathlib import Path

from cco_sidecar.core.converters import refuse_foreign_links
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import CONTEXT_CACHE

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600
_LOCK = "sidecar.lock"


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replaces the content of ``path``. After a crash, the file has either the old or the new content.

    ``owner`` is the user and group id for the file, if they differ from this process's. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if owner is not None:
                os.fchown(file.fileno(), *owner)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_once(path: Path, data: bytes, *, mode: int) -> None:
    """Creates ``path`` atomically. An existing file is left unchanged, even if two processes write at once."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    write_atomically(fresh, data, mode=mode)
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Makes a directory that only this user can enter, unless it is there. It survives a power failure."""
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Removes a file, if it is there."""
    path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Makes newly created and renamed entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_storage(path: Path) -> int:
    """Creates and locks the storage directory; returns the file descriptor of the lock.

    Raises SettingsError if it is not writable, belongs to another user, or is locked by another sidecar.
    """
    try:
        refuse_foreign_links(path)
        path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
        info = path.stat()
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(f"{path} is not a directory")
        if info.st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user")
        if info.st_mode & 0o077:
            # An existing directory may be open to others; tokens, tasks and logs are for this user only.
            path.chmod(PRIVATE_DIR)
        for name in ("results", "events", "logs", CONTEXT_CACHE):
            (path / name).mkdir(exist_ok=True, mode=PRIVATE_DIR)
        descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as problem:
        raise SettingsError(
            f"cannot use storage directory {path}: {problem.strerror or problem}; "
            "fix: choose another with --storage or CCO_SIDECAR_STORAGE"
        ) from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(descriptor)
        raise _held(path) from problem
    return descriptor


def is_in_use(path: Path) -> bool:
    """Reports whether a sidecar has this storage open."""
    try:
        with (path / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def require_unused(path: Path) -> None:
    """Raises SettingsError if a sidecar has this storage open."""
    if is_in_use(path):
        raise _held(path)


def _held(path: Path) -> SettingsError:
    return SettingsError(
        f"storage directory {path} is in use by another sidecar; fix: stop it with "
        "'cco daemon stop', or choose another with CCO_SIDECAR_STORAGE"
    )
