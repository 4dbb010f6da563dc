"""`cco cluster`."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, settings_of_sidecar
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import counted, echo
from cco_sidecar.client.sync import Client
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import DATABASE, Settings
from cco_sidecar.storage.files import PRIVATE_FILE, make_directory, open_storage
from orchestra.v1.system_service_pb2 import ClusterStatus


@click.group(name="cluster", cls=Group)
def command() -> None:
    """See sidecars that share PostgreSQL and NATS, and copy data there and back."""


@command.command()
@out.formatted
@connected
def status(client: Client, form: str | None, output: Path | None) -> None:
    """Show the sidecars, and which of them leads."""
    cluster = client.status().cluster
    out.message(cluster, form, output, lambda: _text(cluster))


def _text(cluster: ClusterStatus) -> str:
    if not cluster.members:
        return "this sidecar shares its records with no other"
    return "\n".join(
        f"{member.sidecar_id} {member.address} on {member.host}, version {member.version}: "
        f"{counted(member.running, 'agent')} running, {member.queued} queued"
        + (", leads" if member.sidecar_id == cluster.leader_id else "")
        + ("" if member.alive else f", silent for {member.silent_seconds:.0f} s")
        for member in cluster.members
    )


@command.command()
@click.pass_context
def load(ctx: click.Context) -> None:
    """Copy the records and events of the storage directory into PostgreSQL and NATS, which must have none.

    The sidecar must be stopped. IDs and cursors stay valid. The records in the storage directory stay, too.
    """
    from cco_sidecar.bus.copying import load_events, require_empty
    from cco_sidecar.storage.sql.backends import backend_of
    from cco_sidecar.storage.sql.copying import copy_records
    from cco_sidecar.storage.sql.sqlite import Sqlite

    settings = _shared(settings_of_sidecar(ctx))
    source = settings.storage / DATABASE
    if not source.exists():
        raise SettingsError(f"no records found in {settings.storage}; name the storage with CCO_SIDECAR_STORAGE")
    lock = open_storage(settings.storage)
    try:
        # Before anything is copied: then both can be tried again.
        asyncio.run(require_empty(settings))
        rows = copy_records(Sqlite(source), backend_of(settings.database_url, source))
        events = asyncio.run(load_events(settings.storage / "events", settings))
    finally:
        os.close(lock)
    echo(f"copied {rows} records and {events} events; start the sidecar with the same settings")


@command.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_context
def save(ctx: click.Context, target: Path) -> None:
    """Copy the records and events of PostgreSQL and NATS into the new directory TARGET; the sidecars may run.

    TARGET is a storage directory: 'cco cluster load' copies it into other servers, and a sidecar of its own can be
    started on it. The output of agents and the keys are in the storage directory of each sidecar.
    """
    from cco_sidecar.bus.copying import save_events
    from cco_sidecar.storage.sql.backends import backend_of
    from cco_sidecar.storage.sql.copying import copy_records
    from cco_sidecar.storage.sql.sqlite import Sqlite

    settings = _shared(settings_of_sidecar(ctx))
    if target.exists():
        raise SettingsError(f"{target} exists; name a new directory")
    # Half of it must not look like all of it.
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_directory(partial)
    (partial / DATABASE).touch(PRIVATE_FILE)
    # The event of a change is then in the copied outbox or in the copied events.
    rows = copy_records(backend_of(settings.database_url, partial), Sqlite(partial / DATABASE))
    events = asyncio.run(save_events(settings, partial / "events"))
    partial.rename(target)
    echo(f"copied {rows} records and {events} events to {target}")


def _shared(settings: Settings) -> Settings:
    """Raises SettingsError."""
    if not settings.shares:
        raise SettingsError("database_url and bus_url: both must be set; they say where the servers are")
    return settings
