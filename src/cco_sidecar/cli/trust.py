"""`cco trust`."""

from __future__ import annotations

from pathlib import Path

import click

from cco_sidecar.cli.connect import settings_of
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core import trust
from cco_sidecar.core.agent_types import AgentTypes


@click.command(name="trust")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--list", "listing", is_flag=True, help="List the files that are trusted.")
@click.option("--revoke", is_flag=True, help="Trust the file no longer, whatever its content.")
@click.pass_context
def command(ctx: click.Context, path: Path | None, listing: bool, revoke: bool) -> None:
    """Trust the agent types of a repository: PATH, or config/orchestra-config.json of the served project.

    Until then its file adds types with a coding agent's rights at most, and changes no built-in type. A file that is
    changed has to be trusted again. The sidecar reads it when it starts.
    """
    if listing:
        for known in trust.trusted():
            echo(known.path)
        return
    wanted = path or settings_of(ctx).project_root / trust.AGENT_TYPES
    if revoke:
        echo(f"no longer trusted: {wanted}" if trust.distrust(wanted) else f"was not trusted: {wanted}")
        return
    data = trust.read(wanted)
    if data is not None:
        _show(trust.load_agent_types(wanted.parent.parent))
    trust.trust(wanted)
    echo(f"trusted: {wanted}; restart the sidecar to use it")


def _show(types: AgentTypes) -> None:
    """What the file asks for and is not given yet."""
    for problem in types.problems:
        echo(problem, err=True)
