"""`cco token`."""

from __future__ import annotations

import click

from cco_sidecar.cli.connect import agent_types, connected, find, operator_token, settings_of
from cco_sidecar.cli.numbers import Seconds
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client


@click.command(name="token")
@click.option(
    "--agent-type", "--type", "agent_type", shell_complete=agent_types, help="Create a token for an agent of this type."
)
@click.option("--issue", "issue_id", help="Issue that the agent works on.")
@click.option("--project", "project_id", default="", help="Project.  [default: the default project]")
@click.option("--ttl", type=Seconds(1, 86_400), help="Seconds (or 1h) until it expires.  [default: 3600]")
@click.pass_context
def command(ctx: click.Context, agent_type: str | None, issue_id: str | None, project_id: str, ttl: int | None) -> None:
    """Print the operator's token, or create an agent token with --agent-type and --issue."""
    if agent_type is None and issue_id is None and not project_id and ttl is None:
        echo(operator_token(find(settings_of(ctx), None).storage))
        return
    if agent_type is None or issue_id is None:
        raise click.UsageError("an agent token needs both --agent-type and --issue")
    ctx.invoke(_create, agent_type=agent_type, issue_id=issue_id, project_id=project_id, ttl=ttl)


@click.command()
@connected
def _create(client: Client, agent_type: str, issue_id: str, project_id: str, ttl: int | None) -> None:
    echo(client.tokens.create(agent_type, issue_id, project_id=project_id, ttl_seconds=ttl).jwt_token)
