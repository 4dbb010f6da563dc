"""`cco context`: show contexts and files, and how they are chosen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import agent_types, connected, project_option
from cco_sidecar.cli.evaluate import evaluate_command
from cco_sidecar.cli.explain import budgets, explain, lint
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import counted, echo
from cco_sidecar.client import Client
from cco_sidecar.core.codec import to_json
from cco_sidecar.services.context.markdown import markdown
from orchestra.v1.context_service_pb2 import DISPOSITION_CUT, GetContextResponse, GetFilesResponse


@click.group(name="context", cls=Group)
def command() -> None:
    """Show, explain, check, measure, refresh and clear contexts."""


command.add_command(explain)
command.add_command(lint)
command.add_command(evaluate_command)


@command.command()
@click.argument("issue")
@click.argument("agent_type", metavar="TYPE", shell_complete=agent_types)
@project_option
@click.option("--task", default="", help="What the agent is about to do.")
@budgets
@partial(out.formatted, more=("markdown",))
@connected
def get(
    client: Client,
    issue: str,
    agent_type: str,
    project_id: str,
    task: str,
    max_bytes: int | None,
    max_tokens: int | None,
    form: str | None,
    output: Path | None,
) -> None:
    """Show the context of ISSUE for agents of TYPE."""
    with out.waiting("gathering context ..."):
        answer = client.context.get(
            issue, agent_type, project_id=project_id, task=task, max_bytes=max_bytes, max_tokens=max_tokens
        )
    if form == "markdown":
        out.write(markdown(answer, task).decode().rstrip("\n"), output)
        return
    screen = out.console()
    if form is None and not screen.is_terminal:
        form = "json"
    if form == "json" and (max_bytes or max_tokens):
        # The budget counts the JSON without indentation.
        out.write(to_json(answer).decode(), output)
        return
    whole = bool(task) and not (max_bytes or max_tokens)
    out.message(answer, form, output, lambda: _summary(answer, hint=whole))


@command.command()
@click.argument("issue")
@click.argument("agent_type", metavar="TYPE", shell_complete=agent_types)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@project_option
@click.option("--lines", default="", metavar="FIRST-LAST", help="Lines of each file, such as 12-40.  [default: all]")
@out.formatted
@connected
def files(
    client: Client,
    issue: str,
    agent_type: str,
    paths: tuple[str, ...],
    project_id: str,
    lines: str,
    form: str | None,
    output: Path | None,
) -> None:
    """Show files, or lines of files, that a context left out."""
    answer = client.context.files(*paths, lines=lines, issue_id=issue, agent_type=agent_type, project_id=project_id)
    out.message(answer, form, output, lambda: _texts(answer))


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
    echo(f"refreshed {counted(answer.entries_refreshed, 'cached context')} of {issue_id}")


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
    echo(f"removed {counted(answer.entries_removed, 'cached context')} ({int(answer.bytes_freed)} bytes)")


def _texts(answer: GetFilesResponse) -> str:
    if len(answer.files) == 1:
        return answer.files[0].content.rstrip("\n")
    return "\n".join(f"==> {file.path} <==\n{file.content}" for file in answer.files).rstrip("\n")


def _summary(answer: GetContextResponse, *, hint: bool) -> str:
    """``hint``: a task was given and no budget, so that only a budget of the type would have used it."""
    context = answer.context
    git = context.git_context
    entries = {entry.path: entry for entry in answer.manifest.entries}
    changes = len(git.uncommitted_changes) + git.more_uncommitted_changes
    whole = hint and not any(entry.HasField("score") for entry in answer.manifest.entries)
    lines = [
        f"{answer.issue_id} for {answer.agent_type}: {counted(answer.file_count, 'file')}"
        + f", {answer.total_size_bytes} bytes"
        + (f", {answer.total_tokens} tokens ({answer.tokenizer})" if answer.HasField("total_tokens") else "")
        + (f", truncated ({answer.truncation_strategy})" if answer.truncated else ""),
        f"project: {context.project_structure.root}, {counted(context.project_structure.total_files, 'file')}"
        + (f", branch {git.branch}" if git.branch else ""),
        f"history: {counted(len(git.recent_commits), 'commit')}, {counted(changes, 'uncommitted change')}"
        + (f", {git.more_uncommitted_changes} of them not listed" if git.more_uncommitted_changes else ""),
        f"previous agent outputs: {len(context.previous_agent_outputs)}",
        f"secrets masked: {answer.manifest.secrets_masked}, files omitted: {answer.manifest.files_left_out}",
        *(["whole files of the type; --max-bytes chooses what matters for the task"] if whole else []),
        "",
        *(
            f"  {file.path}  {entries[file.path].bytes}  {file.language}"
            + ("  (parts)" if entries[file.path].disposition == DISPOSITION_CUT else "")
            for file in context.relevant_files
        ),
    ]
    return "\n".join(lines)
