"""Settings, read once into a frozen object: default < config file < environment < flag."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.ids import is_id

SANDBOX_MODES = ("auto", "require", "off")
LOG_LEVELS = ("debug", "info", "warning", "error")
DATABASE = "records.db"
DEFAULT_CONFIG = Path("~/.cco/config.json")
_ENVIRONMENT = "CCO_SIDECAR_"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the sidecar runs with. Sizes are MB of 2^20 bytes, times are seconds."""

    host: str = "127.0.0.1"
    port: int = 3001
    # None: the REST port plus one, so that a moved sidecar is still found by its URL alone.
    grpc_port: int | None = None
    storage: Path = Path("/tmp/cco-sidecar")
    # postgresql://user:password@host:port/database; None for SQLite in the storage directory.
    database_url: str | None = None
    project_root: Path = field(default_factory=Path.cwd)
    default_project: str = "default"
    # Project id to root directory; when empty, every project is the one at `project_root`.
    projects: Mapping[str, Path] = field(default_factory=dict)
    cache_size_mb: int = 1024
    jwt_secret: str | None = None
    log_level: str = "info"
    pid_file: Path | None = None
    cors_origins: tuple[str, ...] = ()
    # Names by which a browser on this machine may ask for what needs no token here, beyond those of the loopback.
    allowed_hosts: tuple[str, ...] = ()
    rate_limits: Mapping[str, Any] = field(default_factory=dict)
    event_retention: int = 86_400
    max_events: int = 10_000
    event_memory_mb: int = 256
    # Of the results that a project keeps.
    results_quota_mb: int = 2048
    # Agents that run at once; 0 is without limit.
    max_concurrent: int = 119
    agent_timeout: int = 28_800
    stuck_after: int = 900
    agent_logs: int = 7 * 86_400
    runners: Mapping[str, Any] = field(default_factory=dict)
    handover: Mapping[str, Any] = field(default_factory=dict)
    # Whether agents are kept from what is not theirs: auto (where the system allows it), require, off.
    sandbox: str = "auto"
    # The user that agents run as; None for the sidecar's own. Only root may switch.
    run_as: str | None = None
    # Variables that an agent may set for one that it spawns, beside those that begin with TASK_.
    spawn_environment: tuple[str, ...] = ()
    worktree_timeout: int = 60
    branch_prefix: str = "agent/"
    # Never inside the storage directory: a backup would hold the secrets and their key.
    credentials_key_file: Path = field(default_factory=lambda: Path("~/.cco/credentials.key").expanduser())

    @property
    def real_grpc_port(self) -> int:
        if self.grpc_port is not None:
            return self.grpc_port
        return self.port + 1 if self.port else 0

    @property
    def url(self) -> str:
        """Where a program on this machine finds the REST transport."""
        return f"http://{authority(self._local_host, self.port)}"

    @property
    def grpc_target(self) -> str:
        """The same for gRPC."""
        return authority(self._local_host, self.real_grpc_port)

    @property
    def _local_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def real_pid_file(self) -> Path:
        return self.pid_file or self.storage / "sidecar.pid"


def authority(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets (RFC 3986, section 3.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_temporary(path: Path) -> bool:
    """Cleared at reboot, on most systems (file-hierarchy(7))."""
    return any(path.is_relative_to(top) for top in ("/tmp", "/var/tmp", "/dev/shm", "/run"))


def state_directory() -> Path:
    """Where a service of a user keeps its data (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "cco-sidecar"


def service_storage() -> Path:
    """The storage of ``cco daemon`` when none is configured: the state directory, or the place of earlier versions when
    only that has data."""
    former, place = Settings().storage, state_directory()
    has_data = (former / DATABASE).exists() and not (place / DATABASE).exists()
    return former if has_data else place


def load(
    config: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any], *, service: bool = False
) -> Settings:
    """``service``: for one that runs in the background, whose storage outlives a reboot.

    Raises SettingsError: one line that names the setting, its source and what would be right.
    """
    values: dict[str, Any] = {}
    path = (config or DEFAULT_CONFIG).expanduser()
    if config is not None or path.exists():
        values |= _from_file(path)
    for name, convert in _CONVERTERS.items():
        text = environment.get(_ENVIRONMENT + name.upper())
        if text is not None:
            values[name] = _convert(convert, text, f"{_ENVIRONMENT}{name.upper()}")
    for name, value in flags.items():
        if value is not None:
            values[name] = _convert(_CONVERTERS[name], value, f"--{name.replace('_', '-')}")
    if service:
        values.setdefault("storage", service_storage().resolve())
    return Settings(**values)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as problem:
        raise SettingsError(f"config file {path} cannot be read: {problem.strerror}") from problem
    except orjson.JSONDecodeError as problem:
        raise SettingsError(
            f"config file {path} is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}"
        ) from problem
    if not isinstance(document, dict):
        raise SettingsError(f"config file {path} must hold a JSON object")
    values: dict[str, Any] = {}
    for section, content in document.items():
        known = _FILE_KEYS.get(section)
        if known is None:
            raise SettingsError(f"config file {path}: unknown section '{section}'; known: {', '.join(_FILE_KEYS)}")
        if not isinstance(content, dict):
            raise SettingsError(f"config file {path}: '{section}' must be an object")
        if section == "projects":
            values["projects"] = _convert(_projects, content, f"{path}: projects")
            continue
        for key, value in content.items():
            if key not in known:
                raise SettingsError(
                    f"config file {path}: unknown key '{section}.{key}'; known: {', '.join(sorted(known))}"
                )
            values[known[key]] = _convert(_CONVERTERS[known[key]], value, f"{path}: {section}.{key}")
    return values


def _convert(convert: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError) as problem:
        raise SettingsError(f"{where}: {value!r} is not right: {problem}") from problem


def _number(low: int, high: int, what: str) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        problem = ValueError(f"{what} is a whole number from {low} to {high}")
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


def _path(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ValueError("a path is needed")
    return Path(value).expanduser().absolute()


def _own_path(value: Any) -> Path:
    path = _path(value)
    try:
        refuse_foreign_links(path)
    except PermissionError as problem:
        raise ValueError(str(problem)) from problem
    return path


def refuse_foreign_links(path: Path) -> None:
    """A symbolic link that another user made, as anybody can in /tmp, leads where that user likes. Raises
    PermissionError."""
    for part in (path, *path.parents):
        if part.is_symlink() and part.lstat().st_uid not in (0, os.getuid()):
            raise PermissionError(f"{part} is another user's symbolic link")


def _directory(value: Any) -> Path:
    path = _path(value).resolve()
    if not path.is_dir():
        raise ValueError("there is no such directory")
    return path


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a non-empty text is needed")
    return value


def _name(value: Any) -> str:
    if not is_id(_text(value)):
        raise ValueError("a name of letters, digits, '.', '_' and '-' is needed")
    return str(value)


def _level(value: Any) -> str:
    level = {"warn": "warning"}.get(str(value).lower(), str(value).lower())
    if level not in LOG_LEVELS:
        raise ValueError(f"a log level is one of {', '.join(LOG_LEVELS)}")
    return level


def _origins(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("a list of origins such as https://example.com is needed")
    origins = tuple(item.strip().rstrip("/") for item in items if item.strip())
    if any("://" not in origin for origin in origins):
        raise ValueError("an origin is a scheme and a host such as https://example.com, never '*'")
    return origins


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        value = orjson.loads(value)
    if not isinstance(value, dict):
        raise ValueError("a JSON object is needed")
    return value


def _sandbox_mode(value: Any) -> str:
    if value not in SANDBOX_MODES:
        raise ValueError(f"expected one of {', '.join(SANDBOX_MODES)}")
    return str(value)


def _names(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item for item in items):
        raise ValueError("expected a list of names")
    names = tuple(item.strip().lower() for item in items)
    for name in names:
        if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.\-]*[a-z0-9_])?|\[[0-9a-f:.]+\]", name):
            raise ValueError(f"expected names such as build.example, without scheme or port; {name!r} is none")
    return names


def _variables(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list of names of environment variables")
    names = tuple(item.strip() for item in items)
    for name in names:
        # IEEE Std 1003.1, section 8.1.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"expected names of environment variables such as LOG_LEVEL; {name!r} is none")
    return names


def _database_url(value: Any) -> str:
    text = _text(value)
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("expected postgresql://user:password@host:port/database")
    return text.replace("postgres://", "postgresql://", 1)


def _prefix(value: Any) -> str:
    """git-check-ref-format(1), as far as a prefix goes."""
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_\-]*(/[A-Za-z0-9][A-Za-z0-9_\-]*)*[/_\-]", text):
        raise ValueError("expected the beginning of a branch name, such as 'agent/' or 'bot-'")
    return text


def _projects(value: Any) -> Mapping[str, Path]:
    if not isinstance(value, dict):
        raise ValueError("an object of project id to directory is needed")
    return {_name(key): _directory(path) for key, path in value.items()}


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "host": _text,
    "port": _number(0, 65535, "a port"),
    "grpc_port": _number(0, 65535, "a port"),
    # The same directory has one name: what runs in it is found by that.
    "storage": lambda value: _own_path(value).resolve(),
    "database_url": _database_url,
    "project_root": _directory,
    "default_project": _name,
    "cache_size_mb": _number(1, 1024 * 1024, "a size in MB"),
    "jwt_secret": _text,
    "log_level": _level,
    "pid_file": _path,
    "cors_origins": _origins,
    "allowed_hosts": _names,
    "rate_limits": _object,
    "event_retention": _number(1, 365 * 86_400, "a number of seconds"),
    "max_events": _number(1, 10_000_000, "a number of events"),
    "event_memory_mb": _number(1, 1024 * 1024, "a size in MB"),
    "results_quota_mb": _number(1, 1024 * 1024, "a size in MB"),
    "max_concurrent": _number(0, 100_000, "a number of agents"),
    "agent_timeout": _number(0, 30 * 86_400, "a number of seconds"),
    "stuck_after": _number(0, 30 * 86_400, "a number of seconds"),
    "agent_logs": _number(0, 10 * 365 * 86_400, "a number of seconds"),
    "runners": _object,
    "handover": _object,
    "sandbox": _sandbox_mode,
    "run_as": _text,
    "spawn_environment": _variables,
    "worktree_timeout": _number(1, 3600, "a number of seconds"),
    "branch_prefix": _prefix,
    "credentials_key_file": _path,
}

# Section and key of the config file -> setting.
_FILE_KEYS: dict[str, dict[str, str]] = {
    "sidecar": {
        "host": "host",
        "port": "port",
        "grpc_port": "grpc_port",
        "storage_path": "storage",
        "database_url": "database_url",
        "project_root": "project_root",
        "default_project": "default_project",
        "cache_size_mb": "cache_size_mb",
        "jwt_secret": "jwt_secret",
        "log_level": "log_level",
        "cors_origins": "cors_origins",
        "allowed_hosts": "allowed_hosts",
    },
    "agents": {
        "default_timeout_seconds": "agent_timeout",
        "max_concurrent": "max_concurrent",
        "stuck_after_seconds": "stuck_after",
        "log_retention_seconds": "agent_logs",
        "rate_limits": "rate_limits",
        "runners": "runners",
        "handover": "handover",
        "sandbox": "sandbox",
        "run_as": "run_as",
        "spawn_environment": "spawn_environment",
        "worktree_timeout_seconds": "worktree_timeout",
        "branch_prefix": "branch_prefix",
        "credentials_key_file": "credentials_key_file",
    },
    "events": {
        "retention_seconds": "event_retention",
        "max_queue_size": "max_events",
        "max_memory_mb": "event_memory_mb",
    },
    "results": {"quota_mb": "results_quota_mb"},
    "projects": {},
}

SETTING_NAMES = tuple(item.name for item in fields(Settings))
