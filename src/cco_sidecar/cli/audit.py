"""`cco audit verify`: whether the security log is as it was written."""

from __future__ import annotations

import re
from pathlib import Path

import click

from cco_sidecar.cli.connect import settings_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core import audit
from cco_sidecar.core.logs import FILES, SECURITY_LOG


@click.group(name="audit", cls=Group)
def command() -> None:
    """Check the log of security events."""


@command.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--expect", metavar="HASH", help="A hash printed by an earlier run: its line must still be there.")
@click.pass_context
def verify(ctx: click.Context, files: tuple[Path, ...], expect: str | None) -> None:
    """Follow the chain of the security log, in FILES (the oldest first) or in the storage directory.

    Exits 1 if a line was changed, removed or added. Lines that are removed at the end cannot be noticed by the chain
    alone: keep the printed hash elsewhere, and pass it with --expect.
    """
    if expect is not None and not re.fullmatch("[0-9a-f]{64}", expect):
        raise click.UsageError(f"--expect: {expect!r} is not a hash of 64 hexadecimal digits")
    path = settings_of(ctx, service=True).storage / "logs" / SECURITY_LOG
    given = list(files) or audit.files_of(path)
    if not given:
        raise click.ClickException(f"{path} does not exist; set the storage with CCO_SIDECAR_STORAGE")
    try:
        # The oldest of all the files that are kept may have had one before it.
        found = audit.verify(given, complete=not files and len(given) <= FILES)
        missing = expect is not None and not audit.holds(given, expect)
    except OSError as problem:
        raise click.ClickException(f"cannot read {problem.filename}: {problem.strerror}") from problem
    for each in found.problems:
        echo(f"{each.file}:{each.line}: {each.text}", err=True)
    if missing:
        echo(f"no line has the hash {expect}: lines were removed at the end, or the log was rewritten", err=True)
    if found.problems or missing:
        raise click.exceptions.Exit(1)
    if found.older:
        echo(f"{found.older} lines before them were written by an earlier version, without a chain", err=True)
    if found.cut_off:
        echo(f"{found.cut_off} more were cut off by a crash or a full disk", err=True)
    echo(f"{found.lines} lines are as they were written; hash of the last: {found.head}")
