"""Which configuration files of served repositories the user trusts: by path and content, kept in the user's own
directory, as direnv does it. A file that changes is no longer trusted."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cco_sidecar.core import package_data
from cco_sidecar.core.agent_types import AgentTypes, Source
from cco_sidecar.core.errors import SettingsError

_MOST_BYTES = 4 * 2**20
AGENT_TYPES = Path("config") / "orchestra-config.json"


class Trusted(NamedTuple):
    path: str
    mark: Path

    @property
    def holds(self) -> bool:
        """It still has the content that was trusted."""
        try:
            data = read(Path(self.path))
        except (OSError, SettingsError):
            return False
        return data is not None and _mark(Path(self.path), data) == self.mark


def load_agent_types(project_root: Path) -> AgentTypes:
    """The package's types, and on top of them those of the project. What is wrong with the project's file is in
    ``problems``, and the file is left out. Raises SettingsError for the package's own."""
    base = _packaged()
    path = project_root / AGENT_TYPES
    try:
        data = read(path)
        if data is None or data == package_data.agent_types_file().read_bytes():
            return AgentTypes([base])
        return AgentTypes([base, Source.of(str(path), _parsed(data), trusted=is_trusted(path, data))])
    except (OSError, SettingsError) as problem:
        text = str(problem) if isinstance(problem, SettingsError) else str(problem.strerror)
        return AgentTypes([base], problems=[f"agent types in {path} are ignored: {text}"])


def _packaged() -> Source:
    path = package_data.agent_types_file()
    return Source.of(str(path), _parsed(path.read_bytes()), trusted=True)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise SettingsError(f"not JSON: {problem.msg} at {where}") from problem
    if not isinstance(document, dict):
        raise SettingsError("expected a JSON object")
    return document


def read(path: Path) -> bytes | None:
    """A configuration file of a repository; None when there is none. Raises OSError, SettingsError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SettingsError("it is not a regular file")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise SettingsError(f"it is larger than {_MOST_BYTES} bytes")
    return data


def is_trusted(path: Path, data: bytes) -> bool:
    return _mark(path, data).is_file()


def trust(path: Path, data: bytes) -> None:
    """With this content. Raises SettingsError for one that could not be used, OSError."""
    AgentTypes([_packaged(), Source.of(str(path), _parsed(data), trusted=True)])
    mark = _mark(path, data)
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.write_text(f"{path.resolve()}\n")


def distrust(path: Path) -> int:
    """Whatever its content was; the number of marks that were removed."""
    gone = [mark for known, mark in trusted() if known == str(path.resolve())]
    for mark in gone:
        mark.unlink()
    return len(gone)


def trusted() -> Iterator[Trusted]:
    """Paths that were trusted once, with some content."""
    for mark in sorted(_directory().glob("*")):
        yield Trusted(mark.read_text().rstrip("\n"), mark)


def _mark(path: Path, data: bytes) -> Path:
    return _directory() / hashlib.sha256(os.fsencode(path.resolve()) + b"\n" + data).hexdigest()


def _directory() -> Path:
    return Path("~/.cco/trusted").expanduser()
