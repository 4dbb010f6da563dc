"""`cco debug bundle`: diagnostics for support, with secrets removed."""

from __future__ import annotations

import dataclasses
import io
import os
import platform
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import orjson

from cco_sidecar import __version__
from cco_sidecar.cli.checks import findings
from cco_sidecar.cli.connect import find, operator_client, settings_of_sidecar
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.output import require_new
from cco_sidecar.cli.shown import shown
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.core.logs import without_tokens
from cco_sidecar.core.settings import Settings
from cco_sidecar.repository import masking

_LOG_BYTES = 2 * 2**20
# What people wrote for agents may contain anything, and so may the arguments of their programs.
_PRIVATE = frozenset({"task", "message", "command", "resume", "mcp_config"})


@click.group(name="debug", cls=Group)
def command() -> None:
    """Collect diagnostics."""


@command.command()
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Overwrite TARGET if it exists.")
@click.pass_context
def bundle(ctx: click.Context, target: Path | None, force: bool) -> None:
    """Write redacted diagnostics to TARGET (tar.gz).  [default: cco-debug-<time>.tar.gz]

    They are versions, settings, checks, status, agents, the names of the files in the storage, and the end of the log.
    """
    chosen = target or Path(f"cco-debug-{datetime.now():%Y%m%d-%H%M%S}.tar.gz")
    require_new(chosen, force=force)
    settings = settings_of_sidecar(ctx)
    try:
        descriptor = os.open(chosen, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, make in _PARTS.items():
                data = _redacted(make(settings)).encode()
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(data))
    except OSError as problem:
        raise click.ClickException(f"cannot write {chosen}: {problem.strerror}") from problem
    echo(f"wrote {chosen}; review it before sharing it")


def _redacted(text: str) -> str:
    return "\n".join(masking.mask(without_tokens(line)) for line in text.split("\n"))


def _versions(_: Settings) -> str:
    packages = {each.name: each.version for each in metadata.distributions()}
    value = {
        "cco-sidecar": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "packages": dict(sorted(packages.items())),
    }
    return _json(value)


def _settings(settings: Settings) -> str:
    names = (each.name for each in dataclasses.fields(settings))
    return _json({name: shown(name, getattr(settings, name), _PRIVATE) for name in names})


def _checks(settings: Settings) -> str:
    return "\n".join(f"{each.level.value}\t{each.name}\t{each.text}\t{each.fix}" for each in findings(settings))


def _response(ask: Callable[[Client], Any]) -> Callable[[Settings], str]:
    """Makes a part from the sidecar's response, or from the error if it does not answer."""

    def make(settings: Settings) -> str:
        try:
            with operator_client(find(settings, None)) as client:
                return _json(codec.to_dict(ask(client)))
        except (SidecarError, SettingsError) as problem:
            return str(problem)

    return make


def _agents(client: Client) -> Any:
    answer = client.agents.list(all_projects=True, limit=1000)
    for agent in answer.agents:
        # Free text may contain secrets.
        for name in ("task", "message", "last_output", "reason", "progress"):
            agent.ClearField(name)
    return answer


def _log(settings: Settings) -> str:
    path = settings.storage / "logs" / "orchestration.log"
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError as problem:
        return f"{path}: {problem.strerror}"


def _tree(settings: Settings) -> str:
    """Lists the sizes and names of the files in the storage."""

    def lines() -> Iterator[str]:
        for path in sorted(settings.storage.rglob("*")):
            if path.is_file():
                yield f"{path.stat().st_size}\t{path.relative_to(settings.storage)}"

    return "\n".join(lines())


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


_PARTS: dict[str, Callable[[Settings], str]] = {
    "versions.json": _versions,
    "settings.json": _settings,
    "checks.txt": _checks,
    "health.json": _response(lambda client: client.health()),
    "status.json": _response(lambda client: client.status()),
    "agents.json": _response(_agents),
    "storage.txt": _tree,
    "orchestration.log": _log,
}
