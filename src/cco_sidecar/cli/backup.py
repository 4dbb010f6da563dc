"""`cco backup`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from cco_sidecar.cli.connect import settings_of_sidecar
from cco_sidecar.cli.output import require_new
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage import archive


@click.command(name="backup")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Overwrite TARGET if it exists.")
@click.pass_context
def command(ctx: click.Context, target: Path | None, force: bool) -> None:
    """Back up the storage to TARGET (tar.gz); the sidecar may be running.  [default: cco-backup-<time>.tar.gz]

    The backup contains the key that signs tokens, and the encrypted credentials: protect it like the storage itself. It
    does not contain the key that decrypts the credentials.
    """
    chosen = target or Path(f"cco-backup-{datetime.now():%Y%m%d-%H%M%S}.tar.gz")
    require_new(chosen, force=force)
    settings = settings_of_sidecar(ctx)
    if settings.database_url:
        raise SettingsError(
            "database_url: the records are in PostgreSQL; stop the sidecar, then save them with pg_dump and copy "
            f"{settings.storage}"
        )
    if settings.bus_url:
        echo("note: the events are in NATS and not in this backup; save them with 'nats account backup'", err=True)
    copied = archive.make(settings.storage, chosen.absolute())
    echo(f"copied {copied.files} files ({copied.bytes} bytes) to {chosen}")
