"""`cco storage`."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path

import click

from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.settings import DATABASE, state_directory
from cco_sidecar.storage.files import require_unused


@click.group(name="storage", cls=Group)
def command() -> None:
    """The storage directory."""


@command.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path))
def move(source: Path, target: Path) -> None:
    """Move a sidecar's storage from SOURCE to TARGET, while it is stopped."""
    # What a link leads to is the storage, not the link.
    source, target = source.resolve(), target.resolve()
    if not (source / DATABASE).exists():
        raise click.ClickException(f"{source} is no sidecar's storage: it has no {DATABASE}")
    if target.exists() and any(target.iterdir()):
        raise click.ClickException(f"{target} is not empty")
    if target.is_relative_to(source):
        raise click.ClickException(f"{target} lies in {source}")
    if any((source / "worktrees").glob("*/")):
        raise click.ClickException(
            f"{source}/worktrees has worktrees of agents, and git knows them by their place; merge or discard them "
            "first (cco agent discard)"
        )
    require_unused(source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(source, target)
    except OSError as problem:
        raise click.ClickException(
            f"{source} could not be moved to {target}: {problem.strerror or problem}; it is as it was"
        ) from problem
    hint = "" if target == state_directory() else f"; start it with CCO_SIDECAR_STORAGE={target}"
    echo(f"moved to {target}{hint}")


def _move(source: Path, target: Path) -> None:
    """At once within a file system; else the copy has the target's name only when it is whole. Raises OSError."""
    try:
        source.rename(target)
        return
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
    copy = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("control"))
        copy.rename(target)
        os.sync()
    except shutil.Error as problem:
        # It has a list of every file.
        shutil.rmtree(copy, ignore_errors=True)
        raise OSError(errno.EIO, str(problem.args[0][0][2])) from problem
    except OSError:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    shutil.rmtree(source)
