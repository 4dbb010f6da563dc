"""The directory of blueprints: one directory each, with files that people and other programs may edit.

``<name>/agent.json`` describes it, ``agent.system-prompt.md`` is its system prompt, ``agent.mcp.json`` has its MCP
servers (``{"mcpServers": {...}}``), and an empty file ``.disabled`` makes it inactive. The layout is that of the Agent
Orchestrator Framework.
"""

from __future__ import annotations

import codecs
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from cco_sidecar.core import codec, documents
from cco_sidecar.core.clock import timestamp
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage import trust
from cco_sidecar.storage.files import PRIVATE_DIR, PRIVATE_FILE, sync_directory, write_atomically
from orchestra.v1.blueprint_service_pb2 import (
    BLUEPRINT_ORIGIN_DIRECTORY,
    BLUEPRINT_STATUS_ACTIVE,
    BLUEPRINT_STATUS_INACTIVE,
    Blueprint,
)

_AGENT, _PROMPT, _MCP, DISABLED = "agent.json", "agent.system-prompt.md", "agent.mcp.json", ".disabled"
SERVERS = "mcpServers"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
# Of a blueprint, what agent.json does not have: it is in other files, or follows from them.
_ELSEWHERE = ("system_prompt", "mcp_servers", "status", "origin", "modified_at")


class Found(NamedTuple):
    """``problems``: what could not be read, and why."""

    blueprints: tuple[Blueprint, ...]
    problems: tuple[str, ...]


class BlueprintDirectory:
    """Blocks on files. A blueprint is written by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Found:
        """Reads all blueprints, sorted by name. What cannot be read is left out."""
        found, problems = [], []
        for directory in self._directories():
            try:
                found.append(_read(directory))
            except OSError as problem:
                problems.append(f"{directory.name}: {problem.strerror or problem}")
            except SettingsError as problem:
                problems.append(str(problem))
        return Found(tuple(found), tuple(problems))

    def signature(self) -> tuple[Any, ...]:
        """Returns what differs whenever a file of a blueprint has changed."""
        return tuple(_signature(path) for directory in self._directories() for path in (directory, *_files(directory)))

    def add(self, blueprint: Blueprint) -> bool:
        """Writes a new blueprint, whole or not at all. Returns whether the name was free. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
        fresh = self.path / f".{secrets.token_hex(8)}.tmp"
        fresh.mkdir(mode=PRIVATE_DIR)
        try:
            _write(fresh, blueprint)
            # A directory replaces only an empty one (rename(2)).
            fresh.rename(self.path / blueprint.name)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if (self.path / blueprint.name).exists():
                return False
            raise
        sync_directory(self.path)
        return True

    def write(self, blueprint: Blueprint) -> None:
        """Replaces the files of a blueprint, each as a whole. Raises OSError."""
        _write(self.path / blueprint.name, blueprint)

    def remove(self, name: str) -> None:
        """Removes a blueprint with all files in its directory. Raises OSError."""
        gone = self.path / f".{secrets.token_hex(8)}.tmp"
        (self.path / name).rename(gone)
        sync_directory(self.path)
        shutil.rmtree(gone, ignore_errors=True)

    def _directories(self) -> Iterator[Path]:
        with suppress(FileNotFoundError, NotADirectoryError):
            for each in sorted(self.path.iterdir()):
                if (each / _AGENT).is_file():
                    yield each


def _files(directory: Path) -> tuple[Path, ...]:
    return tuple(directory / name for name in (_AGENT, _PROMPT, _MCP, DISABLED))


def _signature(path: Path) -> tuple[str, int, int, int]:
    try:
        info = path.stat()
    except OSError:
        return (str(path), 0, 0, 0)
    return (str(path), info.st_mtime_ns, info.st_ino, info.st_size)


def _read(directory: Path) -> Blueprint:
    """Raises OSError, SettingsError."""
    name = directory.name
    if not NAME.fullmatch(name):
        raise SettingsError(f"{name}: a name has 1 to 60 letters, digits, '_' and '-', and a letter or digit first")
    given = _object(directory / _AGENT)
    if given.get("name", name) != name:
        raise SettingsError(f"{name}/{_AGENT}: name: expected '{name}', got {str(given['name'])[:80]!r}")
    # The directory names it, and other files say the rest.
    own = {key: value for key, value in given.items() if key not in _ELSEWHERE} | {"name": name}
    blueprint = documents.read(Blueprint, own, f"{name}/{_AGENT}")
    _add_servers(blueprint, directory)
    blueprint.system_prompt = _prompt(directory / _PROMPT)
    info = (directory / _AGENT).stat()
    changed = max(int(path.stat().st_mtime * 1e6) for path in _files(directory) if path.exists())
    blueprint.origin = BLUEPRINT_ORIGIN_DIRECTORY
    blueprint.status = BLUEPRINT_STATUS_INACTIVE if (directory / DISABLED).exists() else BLUEPRINT_STATUS_ACTIVE
    if not blueprint.HasField("created_at"):
        blueprint.created_at.CopyFrom(timestamp(int(min(info.st_ctime, info.st_mtime) * 1e6)))
    blueprint.modified_at.CopyFrom(timestamp(changed))
    return blueprint


def _add_servers(blueprint: Blueprint, directory: Path) -> None:
    """Raises OSError, SettingsError."""
    path = directory / _MCP
    if not path.exists():
        return
    where, given = f"{directory.name}/{_MCP}", _object(path)
    if given and SERVERS not in given:
        raise SettingsError(f'{where}: expected {{"{SERVERS}": {{...}}}}; got {", ".join(map(repr, given))[:80]}')
    servers = given.get(SERVERS, {})
    for name, server in servers.items() if isinstance(servers, dict) else ():
        if isinstance(server, dict):
            _as_others_write_it(server)
            if not server.get("command") and not server.get("url"):
                raise SettingsError(f"{where}: {SERVERS}.{name}: a server needs a command or a url")
    # Read as a blueprint, so that an error names the field.
    named = {"name": blueprint.name, "mcp_servers": servers}
    blueprint.mcp_servers.MergeFrom(documents.read(Blueprint, named, where).mcp_servers)
    set_server_types(blueprint)


def _as_others_write_it(server: dict[str, Any]) -> None:
    """Reads what other programs allow in an MCP configuration, in place."""
    if server.get("type") in ("streamable-http", "streamableHttp"):
        server["type"] = "http"
    variables = server.get("env")
    if isinstance(variables, dict):
        server["env"] = {
            key: str(value).lower()
            if isinstance(value, bool)
            else str(value)
            if isinstance(value, int | float)
            else value
            for key, value in variables.items()
        }


def _prompt(path: Path) -> str:
    """Raises OSError, SettingsError."""
    try:
        return (_bytes(path) or b"").removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as problem:
        raise SettingsError(f"{path.parent.name}/{path.name}: byte {problem.start} is not UTF-8") from problem


def _bytes(path: Path) -> bytes | None:
    """Returns a file; None if there is none. Raises OSError, SettingsError."""
    where = f"{path.parent.name}/{path.name}"
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise SettingsError(f"{where}: a link that leads out of the directory")
    try:
        return trust.read(path)
    except SettingsError as problem:
        raise SettingsError(f"{where}: {problem}") from problem


def _object(path: Path) -> dict[str, Any]:
    """Raises OSError, SettingsError."""
    where = f"{path.parent.name}/{path.name}"
    try:
        found = documents.parse(_bytes(path) or b"{}")
    except ValueError as problem:
        raise SettingsError(f"{where} {problem}") from problem
    if not isinstance(found, dict):
        raise SettingsError(f"{where}: expected a JSON object")
    return found


def _write(directory: Path, blueprint: Blueprint) -> None:
    shown = {key: value for key, value in codec.to_dict(blueprint).items() if key not in _ELSEWHERE}
    _write_json(directory / _AGENT, _set(shown))
    if blueprint.system_prompt:
        write_atomically(directory / _PROMPT, blueprint.system_prompt.encode(), mode=PRIVATE_FILE)
    else:
        (directory / _PROMPT).unlink(missing_ok=True)
    if blueprint.mcp_servers:
        _write_json(directory / _MCP, {SERVERS: servers_of(blueprint)})
    else:
        (directory / _MCP).unlink(missing_ok=True)
    if blueprint.status == BLUEPRINT_STATUS_INACTIVE:
        write_atomically(directory / DISABLED, b"", mode=PRIVATE_FILE)
    else:
        (directory / DISABLED).unlink(missing_ok=True)
    sync_directory(directory)


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n", mode=PRIVATE_FILE)


def set_server_types(blueprint: Blueprint) -> None:
    """Sets the types of MCP servers that have none, in place."""
    for server in blueprint.mcp_servers.values():
        server.type = server.type or ("http" if server.url and not server.command else "stdio")


def servers_of(blueprint: Blueprint) -> dict[str, Any]:
    """Returns the MCP servers as programs read them: without what is not set."""
    shown = codec.to_dict(blueprint).get("mcp_servers", {})
    return {name: _set(each) for name, each in shown.items()}


def _set(shown: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if value not in ("", [], {}, None)}
