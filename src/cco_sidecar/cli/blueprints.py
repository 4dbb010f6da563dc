"""`cco blueprints list|show|create|update|activate|deactivate|delete|import|export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec, documents
from cco_sidecar.storage.blueprints import SERVERS, BlueprintDirectory
from orchestra.v1.blueprint_service_pb2 import (
    BLUEPRINT_STATUS_INACTIVE,
    Blueprint,
    BlueprintOrigin,
    BlueprintStatus,
    CreateBlueprintRequest,
)

_COLUMNS: out.Columns = {
    "name": lambda b: b.name,
    "status": lambda b: codec.enum_name(BlueprintStatus.DESCRIPTOR, b.status),
    "origin": lambda b: codec.enum_name(BlueprintOrigin.DESCRIPTOR, b.origin),
    "group": lambda b: b.group,
    "tags": lambda b: ",".join(b.tags),
    "description": lambda b: b.description,
}
_LISTS = ("skills", "tags", "capabilities", "languages", "file_patterns", "permissions")


@click.group(name="blueprints", cls=Group)
def command() -> None:
    """The catalogue of agents: agent types of the configuration, and blueprints."""


def _fields(work: Any) -> Any:
    """Adds an option for each field of a blueprint."""
    for name in reversed(_LISTS):
        flag = "--" + name.replace("_", "-")
        work = click.option(flag, default="", help=f"{name.replace('_', ' ').capitalize()}, separated by commas.")(work)
    work = click.option("--model", help="Model, such as sonnet.")(work)
    work = click.option("--group", help="Group of agent types.  [default: development]")(work)
    work = click.option(
        "--mcp-config", type=click.File("rb"), help="JSON file with the MCP servers that its agents get."
    )(work)
    for name, what in (("output", "results"), ("parameters", "parameters")):
        help_text = f"File with the JSON Schema for the {what} of its sessions."
        work = click.option(f"--{name}-schema", type=click.File("rb"), help=help_text)(work)
    return click.option(
        "--system-prompt", type=click.File("rb"), help="File with what its agents are told; - for standard input."
    )(work)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Converts the options of ``_fields``; leaves out what is not given."""
    found = {name: options.pop(name).split(",") for name in _LISTS if options.get(name)}
    for name in ("parameters_schema", "output_schema"):
        if options.get(name) is not None:
            found[name] = _object(options[name])
    if options.get("mcp_config") is not None:
        servers = _object(options["mcp_config"])
        found["mcp_servers"] = servers.get(SERVERS, servers)
    if options.get("system_prompt") is not None:
        found["system_prompt"] = options["system_prompt"].read().decode(errors="replace")
    return found | {name: options[name] for name in ("model", "group") if options.get(name) is not None}


def _object(file: Any) -> dict[str, Any]:
    try:
        found = documents.parse(file.read())
    except ValueError as problem:
        raise click.ClickException(f"{file.name} {problem}") from None
    if not isinstance(found, dict):
        raise click.ClickException(f"{file.name} must hold a JSON object")
    return found


@command.command(name="list")
@click.argument("query", default="")
@click.option("--tags", default="", help="Only entries with all of these tags, separated by commas.")
@click.option("--status", type=click.Choice(["active", "inactive"]), help="Only entries with this status.")
@click.option("--all", "everything", is_flag=True, help="Agent types of the configuration as well.")
@partial(out.formatted, lists=True)
@connected
def list_(
    client: Client,
    query: str,
    tags: str,
    status: str | None,
    everything: bool,
    form: str | None,
    output: Path | None,
) -> None:
    """List blueprints with all words of QUERY."""
    named = tags.split(",") if tags else ()
    found = client.blueprints.list(query, tags=named, status=status or "", configured=None if everything else False)
    lines = [f"{each.name}: {each.description}" for each in found.blueprints]
    out.rows(found.blueprints, _COLUMNS, form, output, lambda: "\n".join(lines) or "no blueprints")
    for problem in found.problems:
        echo(f"not used: {problem}", err=True)


@command.command()
@click.argument("name")
@out.formatted
@connected
def show(client: Client, name: str, form: str | None, output: Path | None) -> None:
    """Show a blueprint or an agent type."""
    found = client.blueprints.get(name)
    out.message(found, form, output, lambda: out.encoded(codec.to_dict(found), "yaml"))


@command.command()
@click.argument("name")
@click.option("--description", required=True, help="What it is for.")
@_fields
@connected
def create(client: Client, name: str, description: str, **options: Any) -> None:
    """Make a blueprint."""
    client.blueprints.create(name, description, **_given(options))
    echo(f"made blueprint {name}")


@command.command()
@click.argument("name")
@click.option("--description", help="What it is for.")
@click.option("--clear", multiple=True, help="Field to empty, such as mcp_servers; may be repeated.")
@_fields
@connected
def update(client: Client, name: str, description: str | None, clear: tuple[str, ...], **options: Any) -> None:
    """Change a blueprint. What is not given stays as it is."""
    client.blueprints.update(name, description=description, clear=clear, **_given(options))
    echo(f"changed blueprint {name}")


@command.command()
@click.argument("name")
@connected
def activate(client: Client, name: str) -> None:
    """Let agents of a blueprint be started."""
    client.blueprints.update(name, status="active")
    echo(f"blueprint {name} is active")


@command.command()
@click.argument("name")
@connected
def deactivate(client: Client, name: str) -> None:
    """Let no agents of a blueprint be started or resumed."""
    client.blueprints.update(name, status="inactive")
    echo(f"blueprint {name} is inactive")


@command.command()
@click.argument("name")
@connected
def delete(client: Client, name: str) -> None:
    """Delete a blueprint."""
    client.blueprints.delete(name)
    echo(f"deleted blueprint {name}")


@command.command(name="import")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@connected
def import_(client: Client, directory: Path) -> None:
    """Make a blueprint of each directory in DIRECTORY that has an agent.json."""
    found = BlueprintDirectory(directory).read()
    for problem in found.problems:
        echo(f"not imported: {problem}", err=True)
    for blueprint in found.blueprints:
        client.blueprints.create(**_creation(blueprint))
        if blueprint.status == BLUEPRINT_STATUS_INACTIVE:
            client.blueprints.update(blueprint.name, status="inactive")
        echo(f"made blueprint {blueprint.name}")
    if found.problems:
        raise click.exceptions.Exit(1)


@command.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@connected
def export(client: Client, directory: Path) -> None:
    """Write every blueprint as a directory in DIRECTORY."""
    target = BlueprintDirectory(directory)
    for blueprint in client.blueprints.list(configured=False).blueprints:
        if not target.add(blueprint):
            raise click.ClickException(f"{directory / blueprint.name} exists already")
        echo(f"wrote {directory / blueprint.name}")


def _creation(blueprint: Blueprint) -> dict[str, Any]:
    known = CreateBlueprintRequest.DESCRIPTOR.fields_by_name
    return {name: value for name, value in codec.to_dict(blueprint).items() if name in known}
