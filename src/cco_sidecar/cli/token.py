"""`cco token`: the operator's, or a new one for an agent."""

from __future__ import annotations

import click

from cco_sidecar.cli.connect import agent_types, connected, find, operator_token, settings_of
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client


@click.command(name="token")
@click.option("--type", "agent_type", shell_complete=agent_types, help="Make a token for an agent of this type.")
@click.option("--issue", help="The issue that the agent works on.")
@click.option("--project", default="", help="[default: the sidecar's]")
@click.option("--ttl", type=click.IntRange(1, 86_400), help="Seconds until it expires.  [default: 3600]")
@click.pass_context
def command(ctx: click.Context, agent_type: str | None, issue: str | None, project: str, ttl: int | None) -> None:
    """Print the operator's token, or make one for an agent with --type and --issue."""
    if agent_type is None and issue is None and not project and ttl is None:
        echo(operator_token(find(settings_of(ctx), None).storage))
        return
    if agent_type is None or issue is None:
        raise click.UsageError("an agent's token needs both --type and --issue")
    ctx.invoke(_make, agent_type=agent_type, issue=issue, project=project, ttl=ttl)


@click.command()
@connected
def _make(client: Client, agent_type: str, issue: str, project: str, ttl: int | None) -> None:
    echo(client.create_token(agent_type, issue, project=project, ttl_seconds=ttl).jwt_token)
