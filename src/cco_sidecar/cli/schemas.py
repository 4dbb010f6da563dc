"""`cco schemas set|list|show|delete`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec, documents

_COLUMNS: out.Columns = {
    "event_type": lambda s: s.event_type,
    "updated_at": lambda s: codec.rfc3339(s.updated_at),
}


@click.group(name="schemas", cls=Group)
def command() -> None:
    """Set JSON Schemas that the data of events must match."""


@command.command(name="set")
@click.argument("event_type")
@click.argument("file", type=click.File("rb"))
@project_option
@connected
def set_(client: Client, event_type: str, file: Any, project_id: str) -> None:
    """Set the schema of an event type from FILE, or - for standard input.

    Events of that type whose data does not match are refused from now on.
    """
    try:
        schema = documents.parse(file.read())
    except ValueError as problem:
        raise click.ClickException(f"{file.name} {problem}") from None
    if not isinstance(schema, dict):
        raise click.ClickException(f"{file.name} must hold a JSON object")
    client.schemas.set(event_type, schema, project_id=project_id)
    echo(f"set the schema of {event_type}")


@command.command(name="list")
@project_option
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, project_id: str, form: str | None, output: Path | None) -> None:
    """List the event types that have a schema."""
    found = list(client.schemas.list(project_id=project_id))
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(each.event_type for each in found) or "no schemas")


@command.command()
@click.argument("event_type")
@project_option
@out.formatted
@connected
def show(client: Client, event_type: str, project_id: str, form: str | None, output: Path | None) -> None:
    """Show the schema of an event type."""
    schema = client.schemas.get(event_type, project_id=project_id)
    out.message(schema, form, output, lambda: codec.to_json(schema.schema).decode())


@command.command()
@click.argument("event_type")
@project_option
@connected
def delete(client: Client, event_type: str, project_id: str) -> None:
    """Delete the schema of an event type: it takes any data again."""
    client.schemas.delete(event_type, project_id=project_id)
    echo(f"deleted the schema of {event_type}")
