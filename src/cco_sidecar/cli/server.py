"""`cco orchestration-server` and its subcommands `stop`, `restart` and `status`."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar import __version__
from cco_sidecar.cli import process, start
from cco_sidecar.cli.connect import settings_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Duration
from cco_sidecar.cli.terminal import echo, one_line
from cco_sidecar.client import discovery
from cco_sidecar.core import descriptors, run_directory
from cco_sidecar.core.certificates import expiry
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.core.hosts import authority, is_loopback
from cco_sidecar.core.places import is_temporary
from cco_sidecar.core.settings import Settings


@click.group(name="orchestration-server", cls=Group, invoke_without_command=True)
@click.version_option(__version__, prog_name="Orchestration Sidecar", message="%(prog)s v%(version)s")
@start.serving_options
@click.pass_context
def command(ctx: click.Context, /, daemon: bool, **flags: Any) -> None:
    """Run the sidecar. Options except --daemon can also be set by environment variables, such as CCO_SIDECAR_PORT."""
    if ctx.invoked_subcommand is not None:
        return
    settings = settings_of(ctx, **flags)
    if daemon:
        pid = process.start_in_background([arg for arg in sys.argv[1:] if arg != "--daemon"])
        say_started(pid, settings)
        return
    serve(settings)


@command.command()
@click.option(
    "--pid-file", type=click.Path(path_type=Path), help="PID file.  [default: sidecar.pid in the storage directory]"
)
@click.option("--force", is_flag=True, help="Kill the sidecar if it does not exit in time.")
@click.option(
    "--timeout", type=Duration(min=0), default=30.0, show_default=True, help="Seconds to wait for it to exit."
)
@click.pass_context
def stop(ctx: click.Context, pid_file: Path | None, force: bool, timeout: float) -> None:
    """Stop the sidecar and its agents. Pending polls are answered, and acknowledged writes are kept."""
    pid = process.stop(_pid_file(ctx, pid_file), force=force, timeout=timeout)
    echo(f"stopped (pid {pid})" if pid else "the sidecar is not running")


@command.command()
@start.serving_options
@click.option(
    "--timeout", type=Duration(min=0), default=30.0, show_default=True, help="Seconds to wait for it to exit."
)
@click.pass_context
def restart(ctx: click.Context, /, timeout: float, daemon: bool, **flags: Any) -> None:
    """Restart the sidecar in the background. It keeps its options unless you override them, and its agents keep
    running."""
    pid_file = _pid_file(ctx, Path(flags["pid_file"]) if flags["pid_file"] else None, flags["storage"])
    former = process.start_of(pid_file)
    present = start.settings_for(former) if former else None
    if former is None and _is_service(ctx):
        flags["storage"] = str(settings_of(ctx, service=True, storage=flags["storage"]).storage)
    former = former or process.Start([process.SERVER], str(Path.cwd()), {})
    wanted = start.with_overrides(ctx, flags, former)
    settings = start.settings_for(wanted)
    start.require_startable(settings, present)
    process.stop(pid_file, force=False, timeout=timeout, keep_agents=True)
    try:
        pid = process.start_in_background(wanted.words, wanted.environment, wanted.directory)
    except click.ClickException as problem:
        if present is None:
            raise
        # Its options would be lost with it.
        pid = process.start_in_background(former.words, former.environment, former.directory)
        raise click.ClickException(
            f"{problem.message}; it runs again as before (pid {pid}) on {present.url}"
        ) from problem
    say_started(pid, settings)


@command.command()
@click.option(
    "--pid-file", type=click.Path(path_type=Path), help="PID file.  [default: sidecar.pid in the storage directory]"
)
@click.pass_context
def status(ctx: click.Context, pid_file: Path | None) -> None:
    """Show whether the sidecar is running; exit 1 if it is not."""
    settings = _settings(ctx, pid_file)
    running = process.running(settings.real_pid_file)
    if running is None:
        echo("the sidecar is not running")
        echo(f"(the one with {settings.storage}; set another with CCO_SIDECAR_STORAGE)", err=True)
        raise click.exceptions.Exit(1)
    since = datetime.fromtimestamp(running.create_time())
    echo(f"the sidecar is running (pid {running.pid}, since {since:%Y-%m-%d %H:%M:%S}); check it with 'cco health'")
    for text in _dashboard_lines(settings):
        echo(text)


def _settings(ctx: click.Context, pid_file: Path | None, storage: str | None = None) -> Settings:
    parent = ctx.parent.params if ctx.parent else {}
    options = {"storage": storage or parent.get("storage"), "pid_file": pid_file or parent.get("pid_file")}
    return settings_of(ctx, service=_is_service(ctx), **options)


def _pid_file(ctx: click.Context, given: Path | None, storage: str | None = None) -> Path:
    return _settings(ctx, given, storage).real_pid_file


def _is_service(ctx: click.Context) -> bool:
    """Reports whether the command was called as `cco daemon ...`."""
    return ctx.parent is not None and ctx.parent.info_name == "daemon"


def serve(settings: Settings) -> None:
    """Runs the sidecar until it gets a signal. Raises SettingsError.

    SIGTERM and SIGINT also stop its agents; SIGHUP leaves them running for the next sidecar.
    """
    descriptors.raise_limit()
    # Switch threads every millisecond, so that a large message does not delay the event loop.
    sys.setswitchinterval(0.001)
    if sys.platform == "win32":
        asyncio.run(_serve(settings))
        return
    import uvloop

    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from cco_sidecar.app import Sidecar
    from cco_sidecar.core import logs

    try:
        sidecar = Sidecar(settings)
        try:
            logs.set_up(settings.storage / "logs", settings.log_level)
            await sidecar.start()
        except (SettingsError, SidecarError, OSError):
            await sidecar.close()
            raise
    except OSError as problem:
        raise SettingsError(
            f"cannot use {problem.filename or settings.storage}: {problem.strerror or problem}"
        ) from problem
    ended = process.end_signal()
    process.on_parent_exit(partial(process.end_with, ended, signal.SIGTERM))
    pid_file = settings.real_pid_file
    try:
        try:
            pid_file.write_text(f"{os.getpid()}\n")
        except OSError as problem:
            raise SettingsError(f"cannot write the pid file {pid_file}: {problem.strerror}") from problem
        _print_banner(sidecar, settings)
        process.notify_ready()
        await ended
        # The reader of our output may have exited.
        with suppress(OSError):
            echo("stopping ...")
    finally:
        await sidecar.stop(keep_agents=ended.done() and ended.result() is signal.SIGHUP)
        pid_file.unlink(missing_ok=True)


def _print_banner(sidecar: Any, settings: Settings) -> None:
    echo(f"Orchestration Sidecar v{__version__}")
    scheme = "https" if settings.tls_cert and not is_loopback(settings.host) else "http"
    echo(f"Listening on {scheme}://{authority(settings.host, sidecar.settings.port)}")
    echo(f"gRPC on {authority(settings.host, sidecar.settings.grpc_port)}")
    echo(f"Dashboard on {sidecar.settings.dashboard_url} (sign in with 'cco dashboard')")
    echo(f"Project {settings.project_root}")
    echo(f"Storage {settings.storage}")
    echo(f"Ready to coordinate {len(sidecar.types)} agents")
    if is_temporary(settings.storage):
        echo(
            f"note: {settings.storage} is in a temporary directory, which is cleared on reboot; "
            "choose another with --storage"
        )
    for problem in sidecar.types.problems:
        echo(f"warning: {one_line(problem)}", err=True)
    for text in warnings(settings):
        echo(text, err=True)


def say_started(pid: int, settings: Settings) -> None:
    """Prints what was started in the background, and where it is."""
    for text in warnings(settings):
        echo(text, err=True)
    say_running("running in the background", pid, settings, f" on {settings.url}")


def say_running(how: str, pid: int, settings: Settings, where: str = "") -> None:
    """Prints that a sidecar runs, and where its dashboard is."""
    echo(f"the sidecar is {how} (pid {pid}){where}")
    for text in _dashboard_lines(settings):
        echo(text)


def _dashboard_lines(settings: Settings) -> Iterator[str]:
    """Yields where the dashboard of the sidecar with this storage is."""
    place = str(settings.storage)
    known = next((each for each in run_directory.running() if each.storage == place), None)
    if known is None or not known.dashboard:
        return
    if settings.dashboard_port is not None and known.dashboard != settings.dashboard_url:
        yield (
            f"warning: port {settings.dashboard_port} could not be opened, so the dashboard is not there; the log says "
            "why; choose another with --dashboard-port"
        )
    usual = settings.storage in discovery.default_places() or os.environ.get("CCO_SIDECAR_STORAGE") == place
    which = "" if usual else f"CCO_SIDECAR_STORAGE={shlex.quote(place)} "
    yield f"the dashboard is on {known.dashboard}; open it with '{which}cco dashboard'"


def warnings(settings: Settings) -> Iterator[str]:
    """Yields what is allowed and dangerous."""
    if settings.jwt_secret and len(settings.jwt_secret) < 32:
        yield "warning: the JWT secret is shorter than 32 bytes (RFC 7518, section 3.2)"
    if not is_loopback(settings.host) and settings.tls_cert is None:
        yield (
            f"WARNING: {settings.host} is reachable from other machines, and nothing is encrypted: whoever can read "
            "the network can read tokens and code. Set --tls-cert and --tls-key, or listen on 127.0.0.1 behind a TLS "
            "proxy; server.require_tls refuses this."
        )
    if settings.tls_cert is not None and expiry(settings.tls_cert) <= datetime.now(UTC):
        yield f"WARNING: the certificate {settings.tls_cert} has expired, so clients refuse it."
