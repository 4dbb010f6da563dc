"""`cco`: the groups, loaded when they are used, and what a failure looks like."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from cco_sidecar import __version__
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.errors import SettingsError, SidecarError

# gRPC's own lines on stderr would stand beside the one clear line of an error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Name -> module; the command in it is called `command`.
_COMMANDS = {
    "orchestration-server": "server",
    "daemon": "daemon",
    "agent": "agent",
    "context": "context",
    "results": "results",
    "events": "events",
    "approvals": "approvals",
    "credentials": "credentials",
    "auth": "auth",
    "token": "token",
    "top": "top",
    "health": "health",
    "doctor": "doctor",
    "config": "config",
    "trust": "trust",
    "storage": "storage",
    "backup": "backup",
    "restore": "restore",
    "debug": "debug",
    "completion": "completion",
}


class _Lazy(Group):
    """Imports a command's module only when it is called: `cco --version` needs no gRPC."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"cco_sidecar.cli.{module}").command
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cco")
@click.option("--config", type=click.Path(path_type=Path), help="Config file.  [default: ~/.cco/config.json]")
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
@click.option("--no-color", is_flag=True, help="Plain text, also on a terminal.")
@click.pass_context
def cco(ctx: click.Context, config: Path | None, log_level: str | None, no_color: bool) -> None:
    """The orchestration sidecar: context, events and results for teams of AI coding agents."""
    ctx.obj = {"config": config, "log_level": log_level, "no_color": no_color}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs ``arguments``, by default those of the process.

    Exit 0 on success, 1 on an error with one clear line on stderr, 2 on bad usage.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        _fail("the current directory was removed; change to another one")
    try:
        # Without click's own error handling, an Exit's code is what the call returns.
        sys.exit(cco(arguments, prog_name="cco" if arguments is not None else None, standalone_mode=False) or 0)
    except click.UsageError as problem:
        problem.show()
        sys.exit(2)
    except click.ClickException as problem:
        _fail(problem.format_message())
    except (SettingsError, SidecarError) as problem:
        code = f" [{problem.code}]" if isinstance(problem, SidecarError) else ""
        _fail(f"{problem}{code}")
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except UnicodeEncodeError:
        _fail("an argument or a file has text that is not UTF-8")
    except BrokenPipeError:
        # The reader of our output has seen enough.
        sys.stderr.close()
        sys.exit(0)
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        _fail(f"{where}{problem.strerror or problem}")
    except Exception as problem:
        if os.environ.get("CCO_DEBUG"):
            raise
        _fail(f"an internal error: {type(problem).__name__}: {problem}; CCO_DEBUG=1 shows where it comes from")


def _fail(text: str) -> None:
    echo(f"cco: {text}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
