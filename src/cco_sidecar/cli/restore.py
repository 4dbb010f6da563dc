"""`cco restore`."""

from __future__ import annotations

from pathlib import Path

import click

from cco_sidecar.cli.connect import settings_of
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage import archive


@click.command(name="restore")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Move a storage that holds data aside first.")
@click.pass_context
def command(ctx: click.Context, source: Path, force: bool) -> None:
    """Put a backup in the place of the storage of `cco daemon`, or of the one that is configured; its sidecar must be
    stopped."""
    # That of the sidecar which is to be started next, as the last line says.
    settings = settings_of(ctx, service=True)
    if settings.database_url:
        raise SettingsError(
            "database_url: the sidecar to start next keeps its records in PostgreSQL, and a backup holds those of "
            "SQLite; unset it for the restored sidecar"
        )
    storage = settings.storage
    former = archive.restore(source, storage, force=force)
    if former is not None:
        echo(f"the former storage is at {former}")
    echo(f"restored to {storage}; start the sidecar with 'cco daemon start'")
