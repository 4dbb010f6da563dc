"""`cco auth can`."""

from __future__ import annotations

from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import agent_types, connected
from cco_sidecar.cli.groups import Group
from cco_sidecar.client import Client


@click.group(name="auth", cls=Group)
def command() -> None:
    """Check permissions."""


@command.command()
@click.argument("agent", shell_complete=agent_types)
@click.argument("rpc")
@click.option("--issue", "issue_id", default="", help="Issue that the call is about.  [default: the agent's]")
@click.option("--project", "project_id", default="", help="Project that the call is about.  [default: the agent's]")
@out.formatted
@connected
def can(
    client: Client, agent: str, rpc: str, issue_id: str, project_id: str, form: str | None, output: Path | None
) -> None:
    """Check whether AGENT (an id or a type) may call RPC, such as PublishEvent; exit 1 if not."""
    answer = client.agents.check_access(agent, rpc, issue_id=issue_id, project_id=project_id)
    word = "yes" if answer.allowed else "no"
    out.message(answer, form, output, lambda: f"{word}: {answer.rule} ({answer.reason})")
    if not answer.allowed:
        raise click.exceptions.Exit(1)
