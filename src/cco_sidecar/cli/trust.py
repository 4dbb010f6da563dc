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
@click.option("--list", "listing", is_flag=True, help="List trusted files.")
@click.option("--revoke", is_flag=True, help="Stop trusting the file, whatever its content.")
@click.pass_context
def command(ctx: click.Context, path: Path | None, listing: bool, revoke: bool) -> None:
    """Trust the agent types of a repository. PATH is its directory or its config/orchestra-config.json.
    [default: the project root]

    Types of an untrusted file have at most a coding agent's permissions and cannot change built-in types. A changed
    file must be trusted again. The sidecar reads the file at startup.
    """
    if listing:
        listed = list(trust.trusted())
        if not listed:
            echo("no trusted files")
        for known in listed:
            echo(known.path if known.holds else f"{known.path}  (changed or missing; not trusted)")
        return
    place = path or settings_of(ctx).project_root
    wanted = place / trust.AGENT_TYPES if place.is_dir() else place
    if revoke:
        if trust.distrust(wanted):
            echo(f"no longer trusted: {wanted}; restart the sidecar to apply this")
        else:
            echo(f"not trusted: {wanted}")
        return
    data = trust.read(wanted)
    if data is None:
        raise click.ClickException(f"{wanted} not found; pass a repository, or the file itself")
    try:
        trust.trust(wanted, data)
    except SettingsError as problem:
        raise click.ClickException(f"not trusted, because it is invalid: {problem}") from problem
    echo(f"trusted: {wanted}; restart the sidecar to use it")
