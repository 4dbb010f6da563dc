"""`cco context get|refresh|clear`."""

from __future__ import annotations

from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import agent_types, connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from orchestra.v1.context_service_pb2 import GetContextResponse


@click.group(name="context", cls=Group)
def command() -> None:
    """Show, refresh and clear contexts."""


@command.command()
@click.argument("issue")
@click.argument("agent_type", metavar="TYPE", shell_complete=agent_types)
@project_option
@click.option("--task", default="", help="What the agent is about to do.")
@click.option(
    "--max-bytes",
    type=click.IntRange(4096, 10 * 2**20),
    metavar="BYTES",
    help="Budget: excerpts of what matters most for the task.  [default: whole files, up to 10 MiB]",
)
@out.formatted
@connected
def get(
    client: Client,
    issue: str,
    agent_type: str,
    project_id: str,
    task: str,
    max_bytes: int | None,
    form: str | None,
    output: Path | None,
) -> None:
    """Show the context of ISSUE for agents of TYPE."""
    with out.waiting("gathering context ..."):
        answer = client.context.get(issue, agent_type, project_id=project_id, task=task, max_bytes=max_bytes)
    screen = out.console()
    if form is None and not screen.is_terminal:
        form = "json"
    out.message(answer, form, output, lambda: _summary(answer))


@command.command()
@click.option("--issue", "issue_id", required=True, help="Issue whose contexts to refresh.")
@click.option("--agent-type", default="", shell_complete=agent_types, help="Agent type.  [default: all cached types]")
@project_option
@click.option("--force", is_flag=True, help="Reread files even if they look unchanged.")
@connected
def refresh(client: Client, issue_id: str, agent_type: str, project_id: str, force: bool) -> None:
    """Reread the repository and rebuild cached contexts."""
    with out.waiting("reading the repository ..."):
        answer = client.context.refresh(issue_id, agent_type, project_id=project_id, force=force)
    echo(f"refreshed {answer.entries_refreshed} cached contexts of {issue_id}")


@command.command()
@click.option("--issue", "issue_id", default="", help="Issue whose contexts to remove.")
@click.option("--agent-type", default="", shell_complete=agent_types, help="Agent type.  [default: all types]")
@click.option(
    "--project", "project_id", default="", help="Project.  [default: the default project; with --all, all projects]"
)
@click.option("--all", "everything", is_flag=True, help="Remove the contexts of all issues; operator only.")
@connected
def clear(client: Client, issue_id: str, agent_type: str, project_id: str, everything: bool) -> None:
    """Remove cached contexts."""
    if bool(issue_id) == everything:
        raise click.UsageError("specify either --issue or --all")
    answer = client.context.clear(issue_id, agent_type, project_id=project_id)
    echo(f"removed {answer.entries_removed} cached contexts ({int(answer.bytes_freed)} bytes)")


def _summary(answer: GetContextResponse) -> str:
    context = answer.context
    git = context.git_context
    lines = [
        f"{answer.issue_id} for {answer.agent_type}: {answer.file_count} files, {answer.total_size_bytes} bytes"
        + (f", truncated ({answer.truncation_strategy})" if answer.truncated else ""),
        f"project: {context.project_structure.root}, {context.project_structure.total_files} files"
        + (f", branch {git.branch}" if git.branch else ""),
        f"history: {len(git.recent_commits)} commits, {len(git.uncommitted_changes)} uncommitted changes",
        f"previous agent outputs: {len(context.previous_agent_outputs)}",
        f"secrets masked: {answer.manifest.secrets_masked}, files omitted: {answer.manifest.files_left_out}",
        "",
        *(f"  {file.path}  {file.size}  {file.language}" for file in context.relevant_files),
    ]
    return "\n".join(lines)
