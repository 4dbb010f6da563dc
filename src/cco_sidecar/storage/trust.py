"""Which configuration files of repositories the user trusts.

Trust is by path and content, and is stored in the user's home directory, as in direnv. A file that changes is no longer
trusted.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cco_sidecar.core import documents, package_data
from cco_sidecar.core.agent_types import AgentTypes, Source
from cco_sidecar.core.errors import SettingsError

_MAX_BYTES = 4 * 2**20
AGENT_TYPES = Path("config") / "orchestra-config.json"


class Trusted(NamedTuple):
    """A trusted path, and the file that marks it."""

    path: str
    mark: Path

    @property
    def holds(self) -> bool:
        """Reports whether the file still has the content that was trusted."""
        try:
            data = read(Path(self.path))
        except (OSError, SettingsError):
            return False
        return data is not None and _mark(Path(self.path), data) == self.mark


def load_agent_types(project_root: Path) -> AgentTypes:
    """Loads the packaged agent types, overridden by those of the project.

    If the project's file is invalid, it is ignored and the reason is in ``problems``. Raises SettingsError if the
    packaged file is invalid.
    """
    base = _packaged()
    path = project_root / AGENT_TYPES
    try:
        data = read(path)
        if data is None or data == package_data.agent_types_file().read_bytes():
            return AgentTypes([base])
        return AgentTypes([base, Source.of(str(path), _parsed(data), trusted=is_trusted(path, data))])
    except (OSError, SettingsError) as problem:
        text = str(problem) if isinstance(problem, SettingsError) else str(problem.strerror)
        where = "" if text.startswith(str(path)) else f"{path}: "
        return AgentTypes([base], problems=[f"the project's agent types are ignored: {where}{text}"])


def _packaged() -> Source:
    path = package_data.agent_types_file()
    return Source.of(str(path), _parsed(path.read_bytes()), trusted=True)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        document = documents.parse(data)
    except ValueError as problem:
        raise SettingsError(f"the file {problem}") from problem
    if not isinstance(document, dict):
        raise SettingsError("expected a JSON object")
    return document


def read(path: Path) -> bytes | None:
    """Reads a configuration file of a repository; None if there is none. Raises OSError, SettingsError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SettingsError("not a regular file")
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise SettingsError(f"larger than {_MAX_BYTES} bytes")
    return data


def is_trusted(path: Path, data: bytes) -> bool:
    return _mark(path, data).is_file()


def trust(path: Path, data: bytes) -> None:
    """Accepts the file with this content. Raises SettingsError if it is invalid, OSError."""
    AgentTypes([_packaged(), Source.of(str(path), _parsed(data), trusted=True)])
    mark = _mark(path, data)
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.write_text(f"{path.resolve()}\n")


def distrust(path: Path) -> int:
    """Revokes trust in a path, for any content. Returns the number of marks removed."""
    gone = [mark for known, mark in trusted() if known == str(path.resolve())]
    for mark in gone:
        mark.unlink()
    return len(gone)


def trusted() -> Iterator[Trusted]:
    """Yields every path that was trusted, whether or not its content has changed since."""
    for mark in sorted(_directory().glob("*")):
        yield Trusted(mark.read_text().rstrip("\n"), mark)


def _mark(path: Path, data: bytes) -> Path:
    return _directory() / hashlib.sha256(os.fsencode(path.resolve()) + b"\n" + data).hexdigest()


def _directory() -> Path:
    return Path("~/.cco/trusted").expanduser()
