"""`cco daemon start|stop|restart|status|install`: the sidecar as a background service."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import process, server
from cco_sidecar.cli import start as starting
from cco_sidecar.cli.connect import is_default, settings_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.environment import OWN_SETTINGS
from cco_sidecar.core.places import state_directory
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically

# The documented port for people.
DASHBOARD_PORT = 3000


@click.group(name="daemon", cls=Group)
def command() -> None:
    """Run the sidecar as a background service."""


@command.command()
@starting.serving_options
@click.pass_context
def start(ctx: click.Context, /, daemon: bool, **flags: Any) -> None:
    """Start the sidecar in the background and wait until it is ready. As the program of a container, stay in the
    foreground and listen on all interfaces."""
    settings = settings_of(ctx, service=True, **flags)
    if is_default(ctx, "dashboard_port", **flags) and DASHBOARD_PORT not in (settings.port, settings.real_grpc_port):
        flags["dashboard_port"] = DASHBOARD_PORT
        settings = settings_of(ctx, service=True, **flags)
    if process.is_all_of_container():
        if is_default(ctx, "host", **flags):
            # Whoever publishes a port of a container reaches it through another interface than the loopback.
            flags["host"] = "0.0.0.0"
        process.become(starting.command_line(ctx, flags | {"storage": str(settings.storage)}))
    if settings.storage == Settings().storage and flags["storage"] is None:
        echo(
            f"using {settings.storage}, which has data but is cleared on reboot; stop the sidecar and move it with "
            f"'cco storage move {settings.storage} {state_directory()}'"
        )
    flags["storage"] = flags["storage"] or str(settings.storage)
    running, former = process.running(settings.real_pid_file), process.start_of(settings.real_pid_file)
    if running is not None and former is not None:
        if not starting.is_current(ctx, flags, former):
            raise click.ClickException(
                f"the sidecar is already running (pid {running.pid}) with other settings; "
                "apply these with 'cco daemon restart'"
            )
        server.say_running("already running", running.pid, settings)
        return
    try:
        pid = process.start_in_background(starting.command_line(ctx, flags))
    except click.ClickException:
        running = process.started_elsewhere(settings.storage, settings.real_pid_file)
        if running is None:
            raise
        server.say_running("already running", running.pid, settings)
        return
    server.say_started(pid, settings)


@command.command()
@click.option("--print", "only_print", is_flag=True, help="Print the unit instead of installing it.")
@click.pass_context
def install(ctx: click.Context, only_print: bool) -> None:
    """Install a systemd user unit for the sidecar, with the current settings."""
    settings = settings_of(ctx, service=True)
    cco = Path(sys.executable).with_name("cco")
    program = [str(cco)] if cco.exists() else [sys.executable, "-P", "-m", "cco_sidecar.cli.main"]
    given = {name: getattr(settings, name) for name in ("host", "port", "storage", "project_root")}
    if settings.dashboard_port or DASHBOARD_PORT not in (settings.port, settings.real_grpc_port):
        given["dashboard_port"] = settings.dashboard_port or DASHBOARD_PORT
    # systemd does not inherit this environment. The PATH is used to find the agents' programs.
    kept = {name: text for name, text in sorted(os.environ.items()) if name == "PATH" or name.startswith(OWN_SETTINGS)}
    unit = _UNIT.format(
        root=str(settings.project_root).replace("%", "%%"),
        command=" ".join(_quoted(word).replace("$", "$$") for word in [*program, *starting.command_line(ctx, given)]),
        environment=" ".join(_quoted(f"{name}={text}") for name, text in kept.items()),
    )
    if only_print:
        echo(unit, nl=False)
        return
    path = Path("~/.config/systemd/user/cco-sidecar.service").expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The environment may hold the secret that signs tokens.
        write_atomically(path, unit.encode(), mode=PRIVATE_FILE)
    except OSError as problem:
        raise click.ClickException(f"cannot write {path}: {problem.strerror}") from problem
    echo(f"wrote {path}; start it with: systemctl --user enable --now cco-sidecar")


def _quoted(word: str) -> str:
    """Quotes a word for a unit file (systemd.syntax(7)), with percent signs escaped."""
    if re.fullmatch(r"[\w./:=@,+-]+", word):
        return word
    for char, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n")):
        word = word.replace(char, escaped)
    return f'"{word}"'


# KillMode=process: the sidecar stops its agents itself. After a crash they keep running, and the next sidecar adopts
# them. RestartKillSignal: `systemctl --user restart` also leaves them running (systemd 244 or newer).
_UNIT = """\
[Unit]
Description=Orchestration sidecar
After=network.target

[Service]
Type=simple
WorkingDirectory={root}
ExecStart={command}
Environment={environment}
Restart=on-failure
KillMode=process
RestartKillSignal=SIGHUP
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""

for _name in ("stop", "restart", "status"):
    command.add_command(server.command.commands[_name])
