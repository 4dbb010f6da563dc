"""`cco config check|schema|show`."""

from __future__ import annotations

import os
from typing import Any

import click
import orjson

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import settings_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.shown import shown
from cco_sidecar.cli.terminal import echo, one_line
from cco_sidecar.core import settings, sources
from cco_sidecar.core.package_data import schema_file


@click.group(name="config", cls=Group)
def command() -> None:
    """Check and show the sidecar's settings."""


@command.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Check the config file, the environment and the project's agent types; exit 1 if any is invalid."""
    from cco_sidecar.cli.settings_check import check as check_settings
    from cco_sidecar.cli.settings_check import check_environment
    from cco_sidecar.storage.trust import load_agent_types

    chosen = settings_of(ctx)
    check_environment(os.environ)
    check_settings(chosen)
    problems = load_agent_types(chosen.project_root).problems
    if problems:
        raise click.ClickException(one_line("; ".join(problems)))
    echo("the configuration is valid")


@command.command()
@click.argument("document", type=click.Choice(["config", "agent-types"]), default="config")
def schema(document: str) -> None:
    """Print the JSON Schema of the config file, or of a project's agent types, for an editor."""
    name = "orchestra-config" if document == "agent-types" else document
    echo(schema_file(name).read_text().rstrip())


@command.command()
@click.option("--origin", is_flag=True, help="Show where each value comes from.")
@click.option("--all", "everything", is_flag=True, help="Include settings that have their default value.")
@out.report_format
@click.pass_context
def show(ctx: click.Context, origin: bool, everything: bool, form: str) -> None:
    """Show the effective settings as in the config file, with secrets hidden."""
    chosen = ctx.find_root().obj
    found = sources.origins(chosen["config"], os.environ, {"log_level": chosen["log_level"]})
    rows = [
        (_key(each.name), shown(each.name, each.value), each.source)
        for each in found
        if everything or each.source != "default"
    ]
    if form == "text":
        for key, value, source in rows:
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            echo(one_line(f"{key} = {text}" + (f"  ({source})" if origin else "")))
        if not rows:
            echo("every setting has its default value; show them with --all")
        return
    if origin:
        echo(out.encoded({key: {"value": value, "origin": source} for key, value, source in rows}, form))
        return
    document: dict[str, Any] = {}
    for key, value, _ in rows:
        section, _, name = key.partition(".")
        if name:
            document.setdefault(section, {})[name] = value
        else:
            document[key] = value
    echo(out.encoded(document, form))


def _key(name: str) -> str:
    """Returns a setting's key in the config file; its variable if the file cannot set it."""
    return settings.DECLARED[name].file or f"{settings.ENVIRONMENT}{name.upper()}"
