"""Commands of `cco` that are programs of their own, such as `ao-new` and `doc-push`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli.terminal import prepare
from cco_sidecar.core.errors import SettingsError, SidecarError


def program(command: click.Command, say: Callable[[str], None], *, wrong_values: bool = False) -> Callable[[], None]:
    """Returns the entry point of a command.

    ``say`` prints an error, which has exit status 1; wrong usage has 2. ``wrong_values``: a wrong value of an argument
    is an error like others.
    """

    def main() -> None:
        from cco_sidecar.cli.main import CONTEXT

        prepare()
        options: dict[str, Any] = {"config": None, "log_level": None, "no_color": False}
        name = Path(sys.argv[0]).name
        try:
            sys.exit(command.main(prog_name=name, standalone_mode=False, obj=options, **CONTEXT) or 0)
        except click.UsageError as problem:
            missing = isinstance(problem, click.MissingParameter)
            if missing or not (wrong_values and isinstance(problem, click.BadParameter)):
                problem.show()
                sys.exit(2)
            said = problem.format_message()
        except click.ClickException as problem:
            said = problem.format_message()
        except (SettingsError, SidecarError) as problem:
            said = str(problem)
        except OSError as problem:
            said = f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem)
        except (KeyboardInterrupt, click.Abort):
            sys.exit(130)
        say(said)
        sys.exit(1)

    return main
