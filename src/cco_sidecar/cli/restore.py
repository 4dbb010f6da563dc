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
@click.option("--force", is_flag=True, help="Move existing data aside instead of refusing.")
@click.pass_context
def command(ctx: click.Context, source: Path, force: bool) -> None:
    """Restore a backup into the configured storage, or that of 'cco daemon'; its sidecar must be stopped."""
    # The storage that `cco daemon start` uses, as the last line promises.
    settings = settings_of(ctx, service=True)
    if settings.database_url:
        raise SettingsError(
            "database_url: a backup contains SQLite records, but the records are configured to be in PostgreSQL; "
            "unset database_url to restore the backup"
        )
    storage = settings.storage
    former = archive.restore(source, storage, force=force)
    if former is not None:
        echo(f"moved the previous storage to {former}")
    echo(f"restored {storage}; start the sidecar with 'cco daemon start'")
