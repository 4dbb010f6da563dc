"""`cco trust`."""

from __future__ import annotations

from pathlib import Path

import click

from cco_sidecar.cli.connect import settings_of
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage import trust


@click.command(name="trust")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--list", "listing", is_flag=True, help="List the files that were trusted.")
@click.option("--revoke", is_flag=True, help="Trust the file no longer, whatever its content.")
@click.pass_context
def command(ctx: click.Context, path: Path | None, listing: bool, revoke: bool) -> None:
    """Trust the agent types of a repository: PATH is its directory or its config/orchestra-config.json; without it,
    that of the project which would be served from here.

    Until then its file adds types with a coding agent's rights at most, and changes no built-in type. A file that is
    changed has to be trusted again. The sidecar reads it when it starts.
    """
    if listing:
        listed = list(trust.trusted())
        if not listed:
            echo("nothing is trusted")
        for known in listed:
            echo(known.path if known.holds else f"{known.path}  (changed since, or gone; not trusted)")
        return
    place = path or settings_of(ctx).project_root
    wanted = place / trust.AGENT_TYPES if place.is_dir() else place
    if revoke:
        if trust.distrust(wanted):
            echo(f"no longer trusted: {wanted}; restart the sidecar, which keeps what it has read until then")
        else:
            echo(f"was not trusted: {wanted}")
        return
    data = trust.read(wanted)
    if data is None:
        raise click.ClickException(f"there is no {wanted}; name a repository, or the file itself")
    try:
        trust.trust(wanted, data)
    except SettingsError as problem:
        raise click.ClickException(f"it is not trusted, because it could not be used: {problem}") from problem
    echo(f"trusted: {wanted}; restart the sidecar to use it")
