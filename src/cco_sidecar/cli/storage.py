"""`cco storage`."""

from __future__ import annotations

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
    if not (source / DATABASE).exists():
        raise click.ClickException(f"{source} is no sidecar's storage: it has no {DATABASE}")
    if target.exists() and any(target.iterdir()):
        raise click.ClickException(f"{target} is not empty")
    if any((source / "worktrees").glob("*/")):
        raise click.ClickException(
            f"{source}/worktrees has worktrees of agents, and git knows them by their place; merge or discard them "
            "first (cco agent discard)"
        )
    require_unused(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rmdir()
    shutil.move(source, target)
    hint = "" if target == state_directory() else f"; start it with CCO_SIDECAR_STORAGE={target}"
    echo(f"moved to {target}{hint}")
