"""Converts settings from text (environment, command line) or JSON (config file) to Python values.

Each raises ValueError that says what is expected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import Message

from cco_sidecar.core import documents
from cco_sidecar.core.git_projects import GitProject, git_project, is_url
from cco_sidecar.core.hosts import AllowedHosts
from cco_sidecar.core.ids import is_id

Convert = Callable[[Any], Any]

SANDBOX_MODES = ("auto", "require", "off")
GRPC_CORES = ("asyncio", "grpcio")
LOG_LEVELS = ("debug", "info", "warning", "error")


def integer(low: int, high: int) -> Convert:
    def convert(value: Any) -> int:
        problem = ValueError(f"expected an integer from {low} to {high}")
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise problem
        try:
            number = int(value)
        except ValueError:
            raise problem from None
        if not low <= number <= high:
            raise problem
        return number

    return convert


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("expected true or false")


def path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ValueError("expected a path")
    return Path(value).expanduser().absolute()


def http_url(value: Any) -> str:
    problem = ValueError("expected an http:// or https:// URL such as http://127.0.0.1:4318")
    if not isinstance(value, str):
        raise problem
    try:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise problem
    except ValueError:
        raise problem from None
    return value


def storage_path(value: Any) -> Path:
    given = path(value)
    try:
        refuse_foreign_links(given)
    except PermissionError as problem:
        raise ValueError(str(problem)) from problem
    # Running sidecars are found by this name, so a directory must have only one.
    return given.resolve()


def refuse_foreign_links(path: Path) -> None:
    """Refuses symbolic links of other users in the path, as anyone can create in /tmp. Raises PermissionError."""
    for part in (path, *path.parents):
        if part.is_symlink() and part.lstat().st_uid not in (0, os.getuid()):
            raise PermissionError(f"{part} is another user's symbolic link")


def directory(value: Any) -> Path:
    given = path(value).resolve()
    if not given.is_dir():
        raise ValueError("directory not found")
    return given


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a non-empty string")
    return value


def name(value: Any) -> str:
    if not is_id(text(value)):
        raise ValueError("expected a name of letters, digits, '.', '_' and '-'")
    return str(value)


def level(value: Any) -> str:
    level = {"warn": "warning"}.get(str(value).lower(), str(value).lower())
    if level not in LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(LOG_LEVELS)}")
    return level


def grpc_core(value: Any) -> str:
    if value not in GRPC_CORES:
        raise ValueError(f"expected one of {', '.join(GRPC_CORES)}")
    return str(value)


def http_urls(value: Any) -> tuple[str, ...]:
    return tuple(http_url(item) for item in _texts(value, "URLs such as http://nats-1:8222") if item)


def origins(value: Any) -> tuple[str, ...]:
    given = _texts(value, "origins such as https://example.com")
    origins = tuple(item.rstrip("/") for item in given if item)
    if any("://" not in origin for origin in origins):
        raise ValueError("expected origins with a scheme and a host, such as https://example.com, never '*'")
    return origins


def document(message_type: type[Message], where: str, *, by_name: bool = False) -> Convert:
    """Returns a converter for configuration documents; in the environment they are JSON text. ``by_name``: for an
    object of such documents."""
    read = documents.read_map if by_name else documents.read

    def convert(value: Any) -> Any:
        return read(message_type, _json(value) if isinstance(value, str) else value, where)

    return convert


def sandbox_mode(value: Any) -> str:
    if value not in SANDBOX_MODES:
        raise ValueError(f"expected one of {', '.join(SANDBOX_MODES)}")
    return str(value)


def _texts(value: Any, what: str) -> tuple[str, ...]:
    items = _listed(value)
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"expected a list of {what}")
    return tuple(item.strip() for item in items)


def _listed(value: Any) -> Any:
    """Splits a list that a variable gives with commas; an empty text is an empty list."""
    if isinstance(value, str):
        return value.split(",") if value.strip() else ()
    return value


def host_names(value: Any) -> tuple[str, ...]:
    items = _listed(value)
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
        raise ValueError("expected a list of names")
    names = tuple(item.strip().lower() for item in items)
    for name in names:
        if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.\-]*[a-z0-9_])?|\[[0-9a-f:.]+\]", name):
            raise ValueError(f"expected names such as build.example, without scheme or port; got {name!r}")
    return names


def webhook_hosts(value: Any) -> tuple[str, ...]:
    hosts = tuple(item.lower() for item in _texts(value, "hosts"))
    AllowedHosts(hosts)
    return hosts


def type_patterns(value: Any) -> tuple[str, ...]:
    patterns = _texts(value, "agent types, or patterns such as security-*")
    for pattern in patterns:
        if not re.fullmatch(r"[A-Za-z0-9*?][A-Za-z0-9._\-*?]{0,127}", pattern):
            raise ValueError(f"expected agent types, or patterns such as security-*; got {pattern!r}")
    return patterns


def variables(value: Any) -> tuple[str, ...]:
    names = _texts(value, "names of environment variables")
    for name in names:
        # IEEE Std 1003.1, section 8.1.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"expected names of environment variables such as LOG_LEVEL; got {name!r}")
    return names


def database_url(value: Any) -> str:
    given = text(value)
    if not given.startswith(("postgresql://", "postgres://")):
        raise ValueError("expected postgresql://user:password@host:port/database")
    place, _, parameters = given.partition("://")[2].partition("?")
    authority, _, database = place.partition("/")
    user = authority.rpartition("@")[0]
    if re.search(r"[@\[\]]", user) or "@" in database + parameters or "#" in given:
        raise ValueError("percent-encode special characters in the user name and the password, such as @ as %40")
    if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:,]*)(:[0-9]+)?", authority.rpartition("@")[2]):
        raise ValueError(
            "expected one host, and a number as the port; several hosts are written as "
            "postgresql:///database?host=one:5432&host=two:5432"
        )
    return given.replace("postgres://", "postgresql://", 1)


def nats_url(value: Any) -> str:
    servers = [each.strip().removesuffix("/") for each in text(value).split(",")]
    for each in servers:
        parts = urlsplit(each)
        if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path or parts.query or parts.fragment:
            raise ValueError("expected nats://user:password@host:port or tls://host:port, several with commas between")
    return ",".join(servers)


def address(value: Any) -> str:
    given = text(value)
    parts = urlsplit(f"//{given}")
    try:
        if not parts.hostname or not parts.port or parts.netloc != given or parts.username is not None:
            raise ValueError
    except ValueError:
        raise ValueError("expected host:port, such as 10.0.0.5:3002") from None
    return given


def token(value: Any) -> str:
    given = text(value)
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", given):
        raise ValueError("expected at most 32 letters, digits and hyphens")
    return given


def branch_prefix(value: Any) -> str:
    """The beginning of a branch name, by the rules of git-check-ref-format(1)."""
    given = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_\-]*(/[A-Za-z0-9][A-Za-z0-9_\-]*)*[/_\-]", given):
        raise ValueError("expected the beginning of a branch name, such as 'agent/' or 'bot-'")
    return given


def projects(value: Any) -> Mapping[str, Path | GitProject]:
    if isinstance(value, str):
        value = _json(value)
    if not isinstance(value, dict):
        raise ValueError("expected an object of project ids and directories or URLs")
    found = {}
    for key, given in value.items():
        remote = isinstance(given, dict | GitProject) or (isinstance(given, str) and (is_url(given) or "::" in given))
        try:
            found[name(key)] = git_project(given) if remote else directory(given)
        except ValueError as problem:
            raise ValueError(f"{key}: {problem}") from problem
    return found


def _json(text: str) -> Any:
    try:
        return documents.parse(text.encode())
    except ValueError as problem:
        raise ValueError(f"expected a JSON object; the text {problem}") from problem
