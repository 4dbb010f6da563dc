"""Where settings come from: default < config file < environment < flag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cco_sidecar.core import documents
from cco_sidecar.core.declared import Declared
from cco_sidecar.core.environment import is_service_link
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.places import service_storage
from cco_sidecar.core.settings import (
    DECLARED,
    DEFAULT_CONFIG,
    ENVIRONMENT,
    SETTING_NAMES,
    Settings,
)
from cco_sidecar.core.suggestions import did_you_mean

DEBUG_LOGGING = "DEBUG_LOGGING"


class Origin(NamedTuple):
    """A setting that is in force. ``source``: `default`, a file's path, a variable or a flag."""

    name: str
    value: Any
    source: str


def load(
    config: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any], *, service: bool = False
) -> Settings:
    """``service``: for one that runs in the background, whose storage outlives a reboot.

    Raises SettingsError: one line that names the setting, its source and what is expected.
    """
    given = {name: value for name, value, _ in _given(config, environment, flags, service=service)}
    settings = Settings(**given, config_file=config.expanduser().absolute() if config else None)
    if settings.port and settings.real_grpc_port == settings.port:
        raise SettingsError(f"sidecar.grpc_port: {settings.port} is the REST port; expected another one")
    if settings.dashboard_port is not None and settings.dashboard_port == settings.real_grpc_port:
        raise SettingsError(f"dashboard.port: {settings.dashboard_port} is the gRPC port; expected another one")
    return settings


def origins(
    config: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any], *, service: bool = False
) -> list[Origin]:
    """Every setting with where it comes from. Raises SettingsError."""
    given = {each.name: each for each in _given(config, environment, flags, service=service)}
    loaded = Settings(**{name: each.value for name, each in given.items()})
    derived = {"grpc_port": loaded.real_grpc_port, "pid_file": loaded.real_pid_file}
    return [
        given.get(name) or Origin(name, derived.get(name, getattr(loaded, name)), "default") for name in SETTING_NAMES
    ]


def _given(
    config: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any], *, service: bool
) -> Iterator[Origin]:
    """Yields each given setting once, with the source that counts."""
    found: dict[str, Origin] = {}
    path = (config or DEFAULT_CONFIG).expanduser()
    if config is not None or path.exists():
        found |= {each.name: each for each in _from_file(path)}
    if environment.get(DEBUG_LOGGING, "").lower() in ("1", "true", "yes"):
        # As the Agent Orchestrator Framework's servers read it.
        found["log_level"] = Origin("log_level", "debug", DEBUG_LOGGING)
    for name, declared in DECLARED.items():
        variable = f"{ENVIRONMENT}{name.upper()}"
        if (text := environment.get(variable)) is not None and not is_service_link(variable, text):
            found[name] = Origin(name, _convert(declared, text, variable), variable)
        if (value := flags.get(name)) is not None:
            flag = declared.flag or name
            found[name] = Origin(name, _convert(declared, value, flag), flag)
    if service and "storage" not in found:
        found["storage"] = Origin("storage", service_storage().resolve(), "default")
    yield from found.values()


def _from_file(path: Path) -> Iterator[Origin]:
    try:
        document = documents.parse(path.read_bytes())
    except OSError as problem:
        raise SettingsError(f"config file {path} cannot be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise SettingsError(f"config file {path} {problem}") from problem
    if not isinstance(document, dict):
        raise SettingsError(f"config file {path} must contain a JSON object")
    by_key = {declared.file: name for name, declared in DECLARED.items() if declared.file}
    sections = {key.partition(".")[0] for key in by_key}
    for section, content in documents.without_annotations(document).items():
        if section not in sections:
            raise SettingsError(f"config file {path}: unknown section '{section}'{_hint(section, sections)}")
        if section in by_key:
            yield _of_file(path, by_key[section], section, content)
            continue
        if not isinstance(content, dict):
            raise SettingsError(f"config file {path}: '{section}' must be an object")
        for key, value in documents.without_annotations(content).items():
            whole = f"{section}.{key}"
            if whole not in by_key:
                known = [each.partition(".")[2] for each in by_key if each.startswith(f"{section}.")]
                raise SettingsError(f"config file {path}: unknown key '{whole}'{_hint(key, known)}")
            yield _of_file(path, by_key[whole], whole, value)


def _of_file(path: Path, name: str, key: str, value: Any) -> Origin:
    return Origin(name, _convert(DECLARED[name], value, f"{path}: {key}"), f"{path}")


def _hint(key: str, known: Any) -> str:
    return did_you_mean(key, known) or f"; known: {', '.join(sorted(known))}"


def _convert(declared: Declared, value: Any, where: str) -> Any:
    try:
        return declared.convert(value)
    except (ValueError, TypeError) as problem:
        shown = "" if declared.secret else f" {value!r}"
        raise SettingsError(f"{where}: invalid value{shown}: {problem}") from problem
    except SettingsError as problem:
        # A document names its own path.
        raise SettingsError(f"{where.partition(': ')[0]}: {problem}") from problem
