"""`cco storage`."""

from __future__ import annotations

from pathlib import Path

import click

from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.places import state_directory
from cco_sidecar.storage import archive


@click.group(name="storage", cls=Group)
def command() -> None:
    """Manage the storage directory."""


@command.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path))
def move(source: Path, target: Path) -> None:
    """Move the storage of a stopped sidecar from SOURCE to TARGET."""
    place = archive.move(source, target)
    hint = "" if place == state_directory() else f"; start it with CCO_SIDECAR_STORAGE={place}"
    echo(f"moved to {place}{hint}")
