"""The options of a sidecar, its command line, and whether it could start with them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import process
from cco_sidecar.cli.connect import port_answers
from cco_sidecar.core import settings, sockets, sources
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.rpc.tls import Tls


def _options() -> Iterator[Callable[[Any], Any]]:
    """Yields an option for each setting that has a flag, and ``--daemon``."""
    for name, declared in settings.DECLARED.items():
        if declared.flag:
            kind = click.Path() if name in _PATHS else int if declared.is_number else str
            text = _plain(f"{declared.help}.  [default: {declared.shown}]")
            # A switch, which may also be followed by a value.
            is_switch = declared.schema.get("type") == "boolean"
            switch: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if is_switch else {}
            yield click.option(declared.flag, name, type=kind, help=text, **switch)
    yield click.option("--daemon", is_flag=True, help="Run in the background; return when the sidecar is ready.")


def _plain(markdown: str) -> str:
    """Returns the text for a terminal: links as docs/file, and quotes for code."""
    return re.sub(r"\[\w+\]\((\w+\.md)(#[\w-]+)?\)", r"docs/\1", markdown).replace("`", "'")


# Settings that are paths. They are made absolute, because the sidecar may start in another directory.
_PATHS = ("storage", "project_root", "pid_file")


def serving_options(command: Any) -> Any:
    for option in reversed(list(_options())):
        command = option(command)
    return command


@click.command()
@serving_options
def _server(**_: Any) -> None:
    """Parses the options of a command line; never invoked."""


def command_line(ctx: click.Context, flags: dict[str, Any], known: Sequence[str] = (process.SERVER,)) -> list[str]:
    """Returns the arguments of a start: ``known``, followed by the given options, which take precedence."""
    chosen = ctx.find_root().obj
    at = list(known).index(process.SERVER)
    words = list(known[:at])
    if chosen["config"]:
        words += ["--config", str(Path(chosen["config"]).absolute())]
    if chosen["log_level"]:
        words += ["--log-level", chosen["log_level"]]
    words += known[at:]
    for name, value in flags.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(Path(value).absolute() if name in _PATHS else value)]
    return words


def is_current(ctx: click.Context, flags: dict[str, Any], former: process.Start) -> bool:
    """Reports whether a running sidecar already has the given options, config and variables."""
    return settings_for(with_overrides(ctx, flags, former)) == settings_for(former)


def with_overrides(ctx: click.Context, flags: dict[str, Any], former: process.Start) -> process.Start:
    """Returns ``former``, overridden by the given options, config and variables."""
    words = command_line(ctx, flags, former.words)
    return former._replace(words=words, environment=former.environment | os.environ)


def settings_for(start: process.Start) -> Settings:
    """Returns the settings that a start results in. Raises SettingsError, UsageError."""
    at = start.words.index(process.SERVER)
    chosen = _parsed(click.get_current_context().find_root().command, start.words[:at])
    flags = _parsed(_server, start.words[at + 1 :])
    del flags["daemon"]
    flags["log_level"] = flags["log_level"] or chosen["log_level"]
    # Relative paths in the command line are relative to this directory.
    with contextlib.chdir(start.directory) if Path(start.directory).is_dir() else contextlib.nullcontext():
        return sources.load(chosen["config"], start.environment, flags)


def _parsed(known: click.Command, words: Sequence[str]) -> dict[str, Any]:
    options = [each for each in known.params if isinstance(each, click.Option) and each.expose_value]
    return click.Command(known.name, params=list(options)).make_context(known.name, list(words)).params


def require_startable(wanted: Settings, present: Settings | None) -> None:
    """Checks that a sidecar could start, before the running one is stopped. Raises SettingsError."""
    from cco_sidecar.cli.settings_check import check

    check(wanted)
    Tls.of(wanted, "h2")
    try:
        sockets.bound(wanted.host, 0).close()
    except OSError as problem:
        raise SettingsError(f"--host: cannot listen on {wanted.host}: {problem.strerror or problem}") from problem
    held = {present.port, present.real_grpc_port} if present is not None else set()
    for option, port in (("--port", wanted.port), ("--grpc-port", wanted.real_grpc_port)):
        if port not in held and port_answers(wanted.host, port):
            raise SettingsError(f"{option}: {port} is in use by another program")
