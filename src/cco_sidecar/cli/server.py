"""`cco orchestration-server`, and its `stop`, `restart` and `status`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar import __version__
from cco_sidecar.cli import process
from cco_sidecar.cli.connect import port_answers, settings_of
from cco_sidecar.core.environment import OWN_SETTINGS
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.core.settings import Settings, authority

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--port", type=int, help="REST port.  [default: 3001]"),
    click.option("--grpc-port", type=int, help="gRPC port.  [default: the REST port plus one]"),
    click.option("--host", help="[default: 127.0.0.1]"),
    click.option("--storage", type=click.Path(), help="Storage directory.  [default: /tmp/cco-sidecar]"),
    click.option("--project-root", type=click.Path(), help="The agents' repository.  [default: this directory]"),
    click.option("--cache-size-mb", type=int, help="Context cache.  [default: 1024]"),
    click.option("--jwt-secret", help="Sign tokens with HS256 and this secret.  [default: RS256, own key]"),
    click.option("--log-level", help="debug, info, warning or error.  [default: info]"),
    click.option("--daemon", is_flag=True, help="Run in the background; return when it is ready."),
    click.option("--pid-file", type=click.Path(), help="[default: sidecar.pid in the storage directory]"),
]


# What is a name of a file, and means the same from every directory only when it is whole.
_PATHS = ("storage", "project_root", "pid_file")


def serving_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(name="orchestration-server", invoke_without_command=True)
@click.version_option(__version__, prog_name="Orchestration Sidecar", message="%(prog)s v%(version)s")
@serving_options
@click.pass_context
def command(ctx: click.Context, /, daemon: bool, **flags: Any) -> None:
    """Start the sidecar; every option is also an environment variable, such as CCO_SIDECAR_PORT."""
    if ctx.invoked_subcommand is not None:
        return
    settings = settings_of(ctx, **flags)
    if daemon:
        pid = process.start_in_background([arg for arg in sys.argv[1:] if arg != "--daemon"])
        click.echo(f"the sidecar runs in the background (pid {pid}) on {settings.url}")
        return
    serve(settings)


@command.command()
@click.option("--pid-file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Kill it when it does not end in time.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds to wait for it to end."
)
@click.pass_context
def stop(ctx: click.Context, pid_file: Path | None, force: bool, timeout: float) -> None:
    """Stop the sidecar and its agents: parked readers are answered, nothing acknowledged is lost."""
    pid = process.stop(_pid_file(ctx, pid_file), force=force, timeout=timeout)
    click.echo(f"stopped (pid {pid})" if pid else "the sidecar is not running")


@command.command()
@serving_options
@click.option("--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True)
@click.pass_context
def restart(ctx: click.Context, /, timeout: float, daemon: bool, **flags: Any) -> None:
    """Stop the sidecar and start it again in the background, with the options it had and those given now. Its agents
    run on meanwhile."""
    pid_file = _pid_file(ctx, Path(flags["pid_file"]) if flags["pid_file"] else None, flags["storage"])
    former = process.start_of(pid_file)
    line = command_line(ctx, flags, former.words if former else ())
    if former is not None:
        _go_where(former)
        # Its variables hold where none is given now.
        os.environ.update(former.environment | os.environ)
    _require_startable(_settings_for(line), _settings_for(former.words) if former else None)
    process.stop(pid_file, force=False, timeout=timeout, keep_agents=True)
    pid = process.start_in_background(line)
    click.echo(f"the sidecar runs in the background (pid {pid})")


def command_line(ctx: click.Context, flags: dict[str, Any], known: Sequence[str] = ()) -> list[str]:
    """The words of a start: those ``known``, and behind them, for the last one counts, those given now."""
    chosen = ctx.find_root().obj
    at = list(known).index(process.SERVER) if known else 0
    words = list(known[:at])
    if chosen["config"]:
        words += ["--config", str(Path(chosen["config"]).absolute())]
    if chosen["log_level"]:
        words += ["--log-level", chosen["log_level"]]
    words += known[at:] or [process.SERVER]
    for name, value in flags.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(Path(value).absolute() if name in _PATHS else value)]
    return words


def has_what_is_given(ctx: click.Context, flags: dict[str, Any], former: process.Start) -> bool:
    """The options, the config and the variables given now would change nothing of a sidecar that runs."""
    line, given = command_line(ctx, flags, former.words), dict(os.environ)
    _go_where(former)
    for name in [name for name in given if name.startswith(OWN_SETTINGS)]:
        del os.environ[name]
    os.environ.update(former.environment)
    present = _settings_for(former.words)
    os.environ.update(given)
    return _settings_for(line) == present


def _go_where(former: process.Start) -> None:
    """Where the names of its command line are to be looked for."""
    if Path(former.directory).is_dir():
        os.chdir(former.directory)


def _settings_for(line: Sequence[str]) -> Settings:
    """What a sidecar with this command line would run with. Raises SettingsError, UsageError."""
    at = list(line).index(process.SERVER)
    root = click.Context(click.Command("cco"), obj=_parsed(click.get_current_context().find_root().command, line[:at]))
    flags = _parsed(command, line[at + 1 :])
    del flags["daemon"]
    return settings_of(root, **flags)


def _parsed(known: click.Command, words: Sequence[str]) -> dict[str, Any]:
    options = [each for each in known.params if isinstance(each, click.Option) and each.expose_value]
    return click.Command(known.name, params=list(options)).make_context(known.name, list(words)).params


def _require_startable(settings: Settings, present: Settings | None) -> None:
    """Nothing is stopped for what cannot start. Raises SettingsError."""
    from cco_sidecar.compose import check

    check(settings)
    held = {present.port, present.real_grpc_port} if present is not None else set()
    for option, port in (("--port", settings.port), ("--grpc-port", settings.real_grpc_port)):
        if port not in held and port_answers(settings.host, port):
            raise SettingsError(f"{option}: {port} is taken by another program")


@command.command()
@click.option("--pid-file", type=click.Path(path_type=Path))
@click.pass_context
def status(ctx: click.Context, pid_file: Path | None) -> None:
    """Say whether the sidecar runs; exit 1 when it does not."""
    path = _pid_file(ctx, pid_file)
    running = process.running(path)
    if running is None:
        click.echo("the sidecar is not running")
        raise click.exceptions.Exit(1)
    since = datetime.fromtimestamp(running.create_time())
    click.echo(f"the sidecar runs (pid {running.pid}, since {since:%Y-%m-%d %H:%M:%S}); 'cco health' asks how it is")


def _pid_file(ctx: click.Context, given: Path | None, storage: str | None = None) -> Path:
    parent = ctx.parent.params if ctx.parent else {}
    chosen = settings_of(ctx, storage=storage or parent.get("storage"), pid_file=given or parent.get("pid_file"))
    return chosen.real_pid_file


def serve(settings: Settings) -> None:
    """Runs the sidecar until SIGTERM or SIGINT, which end its agents too, or SIGHUP, which leaves them to the next one.
    Raises SettingsError."""
    if sys.platform == "win32":
        asyncio.run(_serve(settings))
        return
    import uvloop

    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from cco_sidecar.compose import Sidecar
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
            f"{problem.filename or settings.storage} cannot be used: {problem.strerror or problem}"
        ) from problem
    ended: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    def end(number: signal.Signals) -> None:
        if not ended.done():
            ended.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    process.when_orphaned(partial(end, signal.SIGTERM))
    pid_file = settings.real_pid_file
    try:
        try:
            pid_file.write_text(f"{os.getpid()}\n")
        except OSError as problem:
            raise SettingsError(f"pid file {pid_file} cannot be written: {problem.strerror}") from problem
        _welcome(sidecar, settings)
        process.tell_ready()
        await ended
        # Whoever read our output may be gone.
        with suppress(OSError):
            click.echo("stopping ...")
    finally:
        await sidecar.stop(keep_agents=ended.done() and ended.result() is signal.SIGHUP)
        pid_file.unlink(missing_ok=True)


def _welcome(sidecar: Any, settings: Settings) -> None:
    click.echo(f"Orchestration Sidecar v{__version__}")
    click.echo(f"Listening on http://{authority(settings.host, sidecar.port)}")
    click.echo(f"gRPC on {authority(settings.host, sidecar.grpc_port)}")
    click.echo(f"Project {settings.project_root}")
    click.echo(f"Storage {settings.storage}")
    click.echo(f"Ready to coordinate {len(sidecar.types)} agents")
    if settings.jwt_secret and len(settings.jwt_secret) < 32:
        click.echo("warning: the JWT secret has fewer than 32 bytes (RFC 7518, section 3.2)", err=True)
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        click.echo("warning: reachable from other machines, without TLS; put a TLS proxy in front", err=True)
