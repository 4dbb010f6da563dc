"""The entry point of `cco`: loads commands on demand and reports errors."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cco_sidecar import __version__
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo, prepare, visible
from cco_sidecar.core.errors import SettingsError, SidecarError

# Keep gRPC's own log lines off stderr, where an error is a single line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Packages that not every installation has, and the extras that bring them.
_EXTRAS = {"nats": "nats", "psycopg": "postgres", "mcp": "mcp"}
# Command names and the modules whose `command` they run.
_COMMANDS = {
    "orchestration-server": "server",
    "daemon": "daemon",
    "agent": "agent",
    "runner": "runner",
    "blueprints": "blueprints",
    "context": "context",
    "results": "results",
    "documents": "documents",
    "knowledge": "knowledge",
    "events": "events",
    "patterns": "patterns",
    "consumers": "consumers",
    "schedules": "schedules",
    "sessions": "sessions",
    "schemas": "schemas",
    "webhooks": "webhooks",
    "ao": "orchestrator",
    "approvals": "approvals",
    "credentials": "credentials",
    "audit": "audit",
    "auth": "auth",
    "token": "token",
    "top": "top",
    "dashboard": "dashboard",
    "health": "health",
    "mcp": "mcp",
    "doctor": "doctor",
    "compat": "compat",
    "config": "config",
    "trust": "trust",
    "storage": "storage",
    "cluster": "cluster",
    "db": "db",
    "backup": "backup",
    "restore": "restore",
    "debug": "debug",
    "completion": "completion",
}


class _Lazy(Group):
    """Imports a command's module on demand, so that `cco --version` does not import gRPC."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"cco_sidecar.cli.{module}").command
        return command


CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=_Lazy, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="cco")
@click.option("--config", type=click.Path(path_type=Path), help="Config file.  [default: ~/.cco/config.json]")
@click.option("--log-level", help="Log level: debug, info, warning or error.  [default: info]")
@click.option("--no-color", is_flag=True, help="Disable colors.")
@click.pass_context
def cco(ctx: click.Context, config: Path | None, log_level: str | None, no_color: bool) -> None:
    """The orchestration sidecar: context, events and results for teams of AI coding agents."""
    ctx.obj = {"config": config, "log_level": log_level, "no_color": no_color}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs ``arguments``, by default those of the process, and exits with the command's status.

    Exits with 0 for success, 1 for an error (one line on stderr), 2 for wrong usage, 130 for Ctrl-C or a declined
    prompt.
    """
    prepare()
    try:
        Path.cwd()
    except FileNotFoundError:
        _fail("the current directory no longer exists; change to another one")
    try:
        Path.home()
    except RuntimeError:
        # A container may run as a user that it does not know (passwd(5)).
        os.environ["HOME"] = "/"
    try:
        # Outside standalone mode, click returns the code of an Exit.
        sys.exit(cco(arguments, prog_name="cco" if arguments is not None else None, standalone_mode=False) or 0)
    except click.UsageError as problem:
        problem.show()
        sys.exit(2)
    except click.ClickException as problem:
        _fail(problem.format_message(), problem.exit_code)
    except (SettingsError, SidecarError) as problem:
        code = f" [{problem.code}]" if isinstance(problem, SidecarError) else ""
        _fail(f"{problem}{code}")
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except UnicodeEncodeError:
        _fail("an argument or file contains text that is not UTF-8")
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        _fail(f"{where}{problem.strerror or problem}")
    except Exception as problem:
        if os.environ.get("CCO_DEBUG"):
            raise
        missing = (problem.name or "").partition(".")[0] if isinstance(problem, ModuleNotFoundError) else ""
        if missing in _EXTRAS:
            _fail(f"this needs the Python package {missing}; fix: pip install 'cco-sidecar[{_EXTRAS[missing]}]'")
        _fail(f"internal error: {type(problem).__name__}: {problem}; set CCO_DEBUG=1 for a traceback")


def _fail(text: str, exit_code: int = 1) -> None:
    echo(f"cco: {visible(text)}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
