"""The directory where running sidecars register, so that commands of the same user find them.

Commands find it without any setting, even under systemd and sudo, where ``$XDG_RUNTIME_DIR`` is missing. It holds a
socket and a description per sidecar, has mode 0700, and is neither backed up nor visible to agents.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from cco_sidecar.core.settings import Settings

NAME = "cco-sidecar"
# sun_path holds 108 bytes, including the final NUL (unix(7)).
_MAX_SOCKET = 107


class Running(NamedTuple):
    """A registered sidecar. ``socket`` is the Unix socket that serves gRPC; ``directories`` are those of its projects,
    by name: that of the default project has an empty one. ``dashboard`` is the URL for a browser."""

    url: str
    grpc: str
    socket: str
    storage: str
    pid: int
    directories: Mapping[str, str] = MappingProxyType({})
    dashboard: str = ""


def candidates() -> list[Path]:
    """Returns the possible run directories, in order of preference."""
    uid = os.getuid()
    own = [os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}", "/run" if uid == 0 else ""]
    found = [Path(parent) / NAME for parent in own if parent and os.path.isdir(parent)]  # noqa: PTH112
    return list(dict.fromkeys((*found, Path(f"/tmp/{NAME}-{uid}"))))


def make() -> Path | None:
    """Returns the first candidate that is ours and short enough, creating it if needed; None if there is none."""
    for path in candidates():
        if len(str(path)) + 22 > _MAX_SOCKET:
            continue
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _is_ours(path):
            return path
    return None


def _is_ours(path: Path) -> bool:
    """Reports whether a path is a private directory of this user, and not a link."""
    try:
        info = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o077


class Registration:
    """This sidecar's socket and description. Without a run directory, ``socket`` is None and nothing is written."""

    def __init__(self, storage: Path) -> None:
        directory = make()
        name = hashlib.sha256(os.fsencode(storage)).hexdigest()[:16]
        self._storage = storage
        self._path = directory / f"{name}.json" if directory else None
        self.socket = directory / f"{name}.sock" if directory else None
        if self.socket is not None:
            # Left behind by a crash. We hold the lock of the storage, so nobody uses it.
            self.socket.unlink(missing_ok=True)

    def announce(self, settings: Settings, directories: Mapping[str, str]) -> None:
        """Publishes the description, so that commands find this sidecar."""
        if self._path is None or self.socket is None:
            return
        socket_path, storage = str(self.socket), str(self._storage)
        own = (settings.url, settings.grpc_target, socket_path, storage, os.getpid(), directories)
        known = Running(*own, dashboard=settings.dashboard_url)
        fresh = self._path.with_suffix(".fresh")
        fresh.write_bytes(orjson.dumps(known._asdict()))
        fresh.replace(self._path)

    def withdraw(self) -> None:
        """Removes the socket and the description."""
        for path in (self._path, self.socket):
            if path is not None:
                path.unlink(missing_ok=True)


def running() -> Iterator[Running]:
    """Yields the running sidecars whose socket is served by a process of this user or of root."""
    for path, known in _announced():
        peer = _peer(known.socket)
        if peer in (os.getuid(), 0):
            yield known
        elif peer is None and not _lives(known.pid):
            # Left behind by a crash.
            for each in (path, Path(known.socket)):
                each.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _peer(path: str) -> int | None:
    """Returns the user id of the process that listens on a Unix socket (unix(7), SO_PEERCRED), or None."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2.0)
            connection.connect(path)
            if not hasattr(socket, "SO_PEERCRED"):
                return Path(path).stat().st_uid
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(uid)
    except OSError:
        return None


def _announced() -> Iterator[tuple[Path, Running]]:
    for directory in candidates():
        if not _is_ours(directory):
            continue
        for path in sorted(directory.glob("*.json")):
            try:
                known: dict[str, Any] = orjson.loads(path.read_bytes())
                yield path, Running(**{field: known[field] for field in Running._fields if field in known})
            except (OSError, ValueError, KeyError, TypeError):
                continue
