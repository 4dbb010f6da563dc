"""`cco credentials store|get|list|delete`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec

_COLUMNS: out.Columns = {
    "name": lambda c: c.name,
    "created_at": lambda c: codec.rfc3339(c.created_at),
    "updated_at": lambda c: codec.rfc3339(c.updated_at),
}


@click.group(name="credentials", cls=Group)
def command() -> None:
    """Manage secrets for agents. They are encrypted at rest."""


# A secret may start with a dash, as PEM keys do. Otherwise click would print it in an unknown-option error.
@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value", required=False)
@connected
def store(client: Client, name: str, value: str | None) -> None:
    """Store a secret as NAME. Without VALUE, it is read from stdin or a prompt."""
    if value is None:
        value = out.read_secret()
    if not value:
        raise click.UsageError("the value is empty")
    client.credentials.store(name, value)
    echo(f"stored {name}")


@command.command()
@click.argument("name")
@connected
def get(client: Client, name: str) -> None:
    """Print a secret."""
    echo(client.credentials.get(name))


@command.command(name="list")
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, form: str | None, output: Path | None) -> None:
    """List the names of the secrets."""
    found = list(client.credentials.list())
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(each.name for each in found) or "no credentials")


@command.command()
@click.argument("name")
@connected
def delete(client: Client, name: str) -> None:
    """Delete a secret."""
    client.credentials.delete(name)
    echo(f"deleted {name}")
