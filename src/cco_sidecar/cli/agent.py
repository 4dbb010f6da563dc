"""`cco agent spawn|list|show|stop|logs|resume|discard|types`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import agent_types, connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Duration, Integer, Seconds
from cco_sidecar.cli.terminal import echo, one_line, visible
from cco_sidecar.client import Client
from cco_sidecar.client.connection import claims_of
from cco_sidecar.core import codec
from cco_sidecar.core.agent_status import ENDED, STATUSES
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import OPERATOR
from orchestra.v1.agent_service_pb2 import Agent, AgentStatus, AgentType, LogLine, SpawnAgentResponse

_MIN_PREFIX = 4
_TASK_WIDTH = 60
# The documented default.
_KILL_SECONDS = 10.0


def status_of(agent: Agent | SpawnAgentResponse) -> str:
    return codec.enum_name(AgentStatus.DESCRIPTOR, agent.status) or ""


COLUMNS: out.Columns = {
    "agent_id": lambda a: a.agent_id,
    "status": status_of,
    "issue_id": lambda a: a.issue_id,
    "task": lambda a: a.task,
    "attempt": lambda a: str(a.attempt),
    "pid": lambda a: str(a.process_id) if a.HasField("process_id") else "",
    "since": lambda a: codec.rfc3339(a.status_since),
    "reason": lambda a: a.reason,
    "runner_id": lambda a: a.runner_id,
}
_TYPE_COLUMNS: out.Columns = {
    "type": lambda t: t.type,
    "group": lambda t: t.group,
    "model": lambda t: t.model,
    "role": lambda t: t.role,
    "permissions": lambda t: " ".join(t.permissions),
}


@click.group(name="agent", cls=Group)
def command() -> None:
    """Spawn and manage agents."""


@command.command()
@click.option(
    "--agent-type",
    "--type",
    "agent_type",
    required=True,
    shell_complete=agent_types,
    help="Agent type; list types with 'cco agent types'.",
)
@click.option("--issue", "issue_id", required=True, help="Issue to work on.")
@click.option("--task", default="", help="Task for the agent.")
@project_option
@click.option(
    "--priority",
    type=click.Choice(["low", "normal", "high"]),
    default="normal",
    show_default=True,
    help="Priority in the queue.",
)
@click.option(
    "--env", "environment", multiple=True, metavar="K=V", help="Environment variable for the agent; repeatable."
)
@click.option(
    "--credential",
    "credentials",
    multiple=True,
    metavar="NAME",
    help="Stored credential to pass to the agent; repeatable.",
)
@click.option("--tag", "tags", multiple=True, help="Tag, or name, of the runner that it needs; repeatable.")
@click.option(
    "--require",
    "requirements",
    multiple=True,
    help="File pattern or file set that the context must include; repeatable.",
)
@click.option("--model", default="", help="Model name.  [default: the runner's, or the type's]")
@click.option("--worktree", is_flag=True, help="Run the agent in its own git worktree and branch.")
@click.option(
    "--base",
    type=click.Choice(("head", "issue")),
    help="Starting point of the worktree; implies --worktree.  [default: the runner's, or head]",
)
@click.option("--timeout", type=Seconds(min=0), help="Time limit of each attempt in seconds (or 1h); 0 means no limit.")
@click.option("--wait", is_flag=True, help="Wait for the agent to end; exit 1 unless it completed.")
@click.option("--logs", is_flag=True, help="Print the agent's output; implies --wait.")
@click.argument("run", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@out.formatted
@connected
def spawn(
    client: Client,
    agent_type: str,
    issue_id: str,
    task: str,
    project_id: str,
    environment: tuple[str, ...],
    requirements: tuple[str, ...],
    credentials: tuple[str, ...],
    tags: tuple[str, ...],
    worktree: bool,
    base: str | None,
    timeout: int | None,
    wait: bool,
    logs: bool,
    run: tuple[str, ...],
    form: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Spawn an agent that runs COMMAND, or the runner of its type if no command is given."""
    for_program = form in ("json", "yaml")
    if logs and for_program:
        raise click.UsageError(f"--logs cannot be combined with --format {form}; use 'cco agent logs'")
    wait |= logs
    options |= {
        "project_id": project_id,
        "environment": dict(map(_pair, environment)),
        "credentials": list(credentials),
        "runner_tags": list(tags),
        "context_requirements": list(requirements),
        "timeout_seconds": timeout,
    }
    # A runner has programs and files of its own.
    options |= {"command": list(run)} if tags else _resolved_command(run)
    if worktree or base:
        options["isolation"] = "worktree"
    if base:
        options["base"] = base
    with out.waiting("starting the agent ..."):
        answer = client.agents.spawn(agent_type, issue_id, task, **options)

    # With --wait, JSON and YAML output is a single document: the agent's final state.
    if not (wait and for_program):
        out.message(answer, form, None if wait else output, lambda: _spawned(client, answer))
    if wait:
        try:
            if logs:
                _print(client.agents.logs(answer.agent_id, follow=True))
            with out.waiting("waiting for the agent to end ..."):
                agent = _wait_for_end(client, answer.agent_id)
        except KeyboardInterrupt:
            echo(f"the agent is still running; follow it with 'cco agent logs {answer.agent_id} -f'", err=True)
            raise
        if for_program or output is not None:
            out.message(agent, form, output, lambda: _details(agent))
        echo(f"{status_of(agent)}: {agent.reason}", err=True)
        if status_of(agent) != "completed":
            raise click.exceptions.Exit(1)


def _spawned(client: Client, answer: SpawnAgentResponse) -> str:
    if not answer.spawned:
        why = client.agents.get(answer.agent_id).reason
        return f"{answer.agent_id} is queued at position {answer.queue_position}: {why}"
    process = f" (pid {answer.process_id})" if answer.process_id else ""
    return f"{answer.agent_id} is {status_of(answer)}{process}"


def _resolved_command(command: tuple[str, ...]) -> dict[str, Any]:
    """Returns the command, with its program resolved on this PATH, and the current directory."""
    if not command:
        return {}
    program, *rest = command
    found = shutil.which(program) if "/" not in program else None
    words = [str(Path(found).absolute()) if found else program, *rest]
    return {"command": words, "directory": str(Path.cwd())}


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"\S+", name):
        raise click.UsageError(f"invalid --env '{text}': expected NAME=VALUE")
    return name, value


def _agent(client: Client, text: str) -> Agent:
    """Returns an agent by its id or a unique prefix, such as `cco top` shows. Raises ClickException, SidecarError."""
    try:
        return client.agents.get(text)
    except SidecarError as problem:
        if problem.code != "AGT_004" or not text:
            raise
        if len(text) < _MIN_PREFIX:
            raise click.ClickException(
                f"agent id prefix '{text}' is too short: expected at least {_MIN_PREFIX} characters"
            ) from problem
        every = client.agents.iterate(all_projects=_is_operator(client))
        found = [agent for agent in every if agent.agent_id.startswith(text)]
        if not found:
            raise
    if len(found) > 1:
        some = ", ".join(agent.agent_id for agent in found[:3])
        raise click.ClickException(
            f"agent id prefix '{text}' is ambiguous: it matches {len(found)} agents, such as {some}"
        )
    return found[0]


def _is_operator(client: Client) -> bool:
    return claims_of(client.token).get("sub") == OPERATOR


def _wait_for_end(client: Client, agent_id: str) -> Agent:
    """Waits for the agent to end, by following its logs, and returns it."""
    for _ in client.agents.logs(agent_id, follow=True, tail=0):
        pass
    return client.agents.get(agent_id)


@command.command(name="list")
@click.option("--status", type=click.Choice(STATUSES), help="Filter by status.")
@click.option("--agent-type", "--type", "agent_type", default="", shell_complete=agent_types, help="Filter by type.")
@click.option("--issue", "issue_id", default="", help="Filter by issue.")
@project_option
@click.option("--all-projects", is_flag=True, help="List agents of all projects; operator only.")
@click.option("--limit", type=Integer(1, 1000), help="Maximum number to list.  [default: 100]")
@click.option("--cursor", default="", help="Cursor printed by the previous page.")
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, status: str | None, form: str | None, output: Path | None, **wanted: Any) -> None:
    """List agents, newest first."""
    answer = client.agents.list(status=status or "", **wanted)
    agents = list(answer.agents)

    def text() -> str:
        most = f" of {answer.max_concurrent}" if answer.max_concurrent else ""
        here = " at this sidecar" if len({agent.sidecar_id for agent in agents} - {""}) > 1 else ""
        head = f"{answer.running}{most} running, {answer.queued} queued{here}"
        return "\n".join([head, *map(_line, agents)])

    out.rows(agents, COLUMNS, form, output, text)
    out.more(answer.next_cursor)


def _line(agent: Agent) -> str:
    place = f" (position {agent.queue_position})" if agent.queue_position else ""
    task = one_line(agent.task.strip().partition("\n")[0])
    task = f"  {task if len(task) <= _TASK_WIDTH else task[: _TASK_WIDTH - 3] + '...'}" if task else ""
    at = f"  at {agent.runner_id}" if agent.runner_id else ""
    return f"  {agent.agent_id}  {status_of(agent)}{place}{at}  {agent.issue_id}{task}  ({one_line(agent.reason)})"


@command.command()
@click.argument("agent_id")
@out.formatted
@connected
def show(client: Client, agent_id: str, form: str | None, output: Path | None) -> None:
    """Show an agent's status, usage and last output. AGENT_ID may be a unique prefix."""
    agent = _agent(client, agent_id)
    out.message(agent, form, output, lambda: _details(agent))


def _details(agent: Agent) -> str:
    value = codec.to_dict(agent)
    lines = [f"{agent.agent_id}: {status_of(agent)}, {agent.reason}"]
    lines += [f"  {key}: {value[key]}" for key in _SHOWN if value.get(key) not in (None, "", [])]
    usage = {key: figure for key, figure in value.get("usage", {}).items() if figure != ""}
    lines += [f"  {key}: {figure}" for key, figure in usage.items()]
    lines += [f"  | {line}" for line in agent.last_output]
    return "\n".join(map(one_line, lines))


_SHOWN = (
    *("agent_type", "issue_id", "project_id", "task", "runner", "model", "priority", "attempt", "max_attempts"),
    *("created_at", "started_at", "ended_at", "retry_at", "process_id", "exit_code", "signal", "queue_position"),
    *("runner_id", "spawned_by", "branch", "worktree", "result_id", "credentials"),
)


@command.command()
@click.argument("agent_id")
@click.option("--force", is_flag=True, help="Kill it immediately.")
@click.option(
    "--timeout",
    type=Duration(0, 3600),
    default=_KILL_SECONDS,
    show_default=True,
    help="Seconds to wait before killing it.",
)
@connected
def stop(client: Client, agent_id: str, force: bool, timeout: float) -> None:
    """Stop an agent and its child processes, and revoke its tokens. 'kill' is an alias of 'stop'."""
    agent_id = _agent(client, agent_id).agent_id
    with out.waiting("stopping the agent ..."):
        answer = client.agents.stop(agent_id, force=force, timeout=timeout)
    if answer.stopped:
        echo(f"stopped {agent_id}")
    else:
        echo(f"{agent_id} had already ended: {answer.reason}")


@command.command()
@click.argument("agent_id")
@click.option("--follow", "-f", is_flag=True, help="Follow the output until the agent ends.")
@click.option("--tail", type=Integer(min=0), help="Number of lines to print from the end.  [default: all]")
@click.option("--attempt", type=Integer(min=1), help="Attempt number.  [default: the latest]")
@click.option("--timestamps", is_flag=True, help="Prefix each line with its timestamp.")
@connected
def logs(client: Client, agent_id: str, timestamps: bool, **wanted: Any) -> None:
    """Print an agent's output."""
    agent_id = _agent(client, agent_id).agent_id
    _print(client.agents.logs(agent_id, **wanted), timestamps=timestamps)
    if wanted["follow"]:
        agent = client.agents.get(agent_id)
        echo(f"{agent_id} {status_of(agent)}: {one_line(agent.reason)}", err=True)


@command.command()
@click.argument("agent_id")
@connected
def diff(client: Client, agent_id: str) -> None:
    """Print what an agent changed in its worktree, as a unified diff with secrets masked."""
    answer = client.agents.diff(_agent(client, agent_id).agent_id)
    echo(visible(answer.diff), nl=False)
    for path in answer.untracked_files:
        echo(f"untracked file, not in the diff: {one_line(path)}", err=True)
    if answer.truncated:
        echo("the diff is longer; it is cut here", err=True)
    if not answer.diff and not answer.untracked_files:
        echo("no changes, or no worktree", err=True)


# The documented alias.
command.add_command(stop, name="kill")


def _print(lines: Iterable[LogLine], *, timestamps: bool = False) -> None:
    for line in lines:
        echo(_stamped(line) if timestamps else line.text, err=line.stream == "stderr")


def _stamped(line: LogLine) -> str:
    return f"{codec.rfc3339(line.timestamp)} {line.text}"


@command.command()
@click.argument("agent_id")
@click.option("--message", default="", help="Instruction that replaces its task.  [default: its task]")
@connected
def resume(client: Client, agent_id: str, message: str) -> None:
    """Restart an ended agent, resuming its last session if its runner supports it."""
    agent = client.agents.resume(_agent(client, agent_id).agent_id, message)
    attempt = f", attempt {agent.attempt}" if agent.HasField("process_id") else ""
    echo(f"{agent.agent_id} is {status_of(agent)}{attempt}")


@command.command()
@click.argument("agent_id")
@click.option("--yes", is_flag=True, help="Skip the confirmation prompt.")
@connected
def discard(client: Client, agent_id: str, yes: bool) -> None:
    """Remove an agent's worktree and branch, even if not merged."""
    agent = _agent(client, agent_id)
    # The server rejects a running agent, or one without a worktree.
    if not yes and agent.worktree and status_of(agent) in ENDED:
        out.confirm(f"remove {agent.worktree} and branch {agent.branch}?")
    answer = client.agents.discard_worktree(agent.agent_id)
    echo(f"removed branch {answer.branch} and its worktree")


@command.command()
@click.option("--group", default="", help="Filter by group, such as coding, quality or security.")
@partial(out.formatted, lists=True)
@connected
def types(client: Client, group: str, form: str | None, output: Path | None) -> None:
    """List agent types."""
    found = list(client.agent_types(group))
    if group and not found:
        groups = sorted({each.group for each in client.agent_types()})
        raise click.ClickException(f"group '{group}' not found; expected one of {', '.join(groups)}")

    def line(each: AgentType) -> str:
        return f"{each.type}  [{each.group}]  {each.role}"

    out.rows(found, _TYPE_COLUMNS, form, output, lambda: "\n".join(map(line, found)))
