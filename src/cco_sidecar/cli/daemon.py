"""`cco daemon start|stop|restart|status|install`: the sidecar as a background service."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import process, server
from cco_sidecar.cli.connect import settings_of


@click.group(name="daemon")
def command() -> None:
    """The sidecar as a background service."""


@command.command()
@server.serving_options
@click.pass_context
def start(ctx: click.Context, /, daemon: bool, **flags: Any) -> None:
    """Start the sidecar in the background; return when it answers."""
    settings = settings_of(ctx, **flags)
    running = process.running(settings.real_pid_file)
    if running is not None:
        click.echo(f"the sidecar runs already (pid {running.pid})")
        return
    config = ctx.find_root().obj["config"]
    before = ["--config", str(config)] if config else []
    given = [part for name, value in flags.items() if value for part in (f"--{name.replace('_', '-')}", str(value))]
    pid = process.start_in_background([*before, "orchestration-server", *given])
    click.echo(f"the sidecar runs in the background (pid {pid}) on http://{settings.host}:{settings.port}")


@command.command()
@click.option("--print", "only_print", is_flag=True, help="Print the unit instead of writing it.")
@click.pass_context
def install(ctx: click.Context, only_print: bool) -> None:
    """Write a systemd user unit that starts the sidecar on this directory's project."""
    settings = settings_of(ctx)
    program = shutil.which("cco") or f"{sys.executable} -m cco_sidecar.cli.main"
    config = ctx.find_root().obj["config"]
    options = f" --config {Path(config).absolute()}" if config else ""
    unit = _UNIT.format(
        program=f"{program}{options}",
        root=settings.project_root,
        storage=settings.storage,
        port=settings.port,
        host=settings.host,
    )
    if only_print:
        click.echo(unit, nl=False)
        return
    path = Path("~/.config/systemd/user/cco-sidecar.service").expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit)
    except OSError as problem:
        raise click.ClickException(f"{path} cannot be written: {problem.strerror}") from problem
    click.echo(f"written to {path}; start it with: systemctl --user enable --now cco-sidecar")


# KillMode=mixed: only the sidecar gets the SIGTERM, and ends its agents itself. Its keepers are killed with it when it
# does not end in time, so that nothing is left.
_UNIT = """\
[Unit]
Description=Orchestration sidecar
After=network.target

[Service]
Type=simple
WorkingDirectory={root}
ExecStart={program} orchestration-server --host {host} --port {port} --storage {storage} --project-root {root}
Restart=on-failure
KillMode=mixed
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""

for _name in ("stop", "restart", "status"):
    command.add_command(server.command.commands[_name])
