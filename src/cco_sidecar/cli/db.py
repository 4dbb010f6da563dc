"""`cco db`."""

from __future__ import annotations

import os

import click

from cco_sidecar.cli.connect import settings_of_sidecar
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import DATABASE
from cco_sidecar.storage.files import open_storage


@click.group(name="db", cls=Group)
def command() -> None:
    """Check and migrate the database of the records."""


@command.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Show the version of the database and whether it is sound; exit 1 if it is not, or is not the newest."""
    from cco_sidecar.storage.sql import migrating
    from cco_sidecar.storage.sql.backends import backend_of

    settings = settings_of_sidecar(ctx)
    backend = backend_of(settings.database_url, settings.storage / DATABASE)
    backend.check()
    stored, newest = backend.version(), migrating.newest()
    if stored == newest:
        # What the tables must look like is known of the newest version only.
        if damage := backend.integrity():
            raise SettingsError(f"the database {backend.name} is damaged: {damage}; restore it from a backup")
        echo(f"{backend.name} has version {stored}, the newest, and is sound")
        return
    if migrating.is_known(stored):
        echo(f"{backend.name} has version {stored}; 'cco db migrate', or the next start, brings it to {newest}")
    elif stored:
        echo(f"{backend.name} has version {stored}, of a later release; this one knows {newest}")
    else:
        echo(f"{backend.name} has no records yet; 'cco db migrate', or the first start, creates its tables")
    raise click.exceptions.Exit(1)


@command.command()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring the database to the version of this release, without starting the sidecar. Make a backup first."""
    from cco_sidecar.storage.sql import migrating
    from cco_sidecar.storage.sql.backends import backend_of
    from cco_sidecar.storage.sql.database import Database

    settings = settings_of_sidecar(ctx)
    # Nobody else may use it meanwhile.
    lock = open_storage(settings.storage)
    try:
        backend = backend_of(settings.database_url, settings.storage / DATABASE)
        before = backend.version()
        Database(backend, exclusive=True).close()
    finally:
        os.close(lock)
    newest = migrating.newest()
    if before == newest:
        echo(f"{backend.name} has version {newest} already")
    else:
        echo(f"{backend.name} was migrated from {before or 'an empty database'} to {newest}")
