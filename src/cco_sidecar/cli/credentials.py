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
    """Secrets for agents, encrypted at rest; a spawn names those that an agent gets."""


# A secret may begin with a dash, as a key in PEM form does; click would say it again as an unknown option.
@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value", required=False)
@connected
def store(client: Client, name: str, value: str | None) -> None:
    """Store the secret VALUE under NAME; without VALUE it is asked for, or read from a pipe."""
    if value is None:
        value = out.read_secret()
    if not value:
        raise click.UsageError("a value is needed")
    client.credentials.store(name, value)
    echo(f"{name} is stored")


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
    """List names, never values."""
    found = list(client.credentials.list())
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(each.name for each in found) or "no credentials")


@command.command()
@click.argument("name")
@connected
def delete(client: Client, name: str) -> None:
    """Forget a secret."""
    client.credentials.delete(name)
    echo(f"{name} is deleted")
