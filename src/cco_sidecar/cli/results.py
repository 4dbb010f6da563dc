"""`cco results store|list|get`."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import agent_types, connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Integer
from cco_sidecar.client import Client
from cco_sidecar.client.connection import claims_of
from cco_sidecar.core import codec
from orchestra.v1.result_service_pb2 import CreateResultRequest, CreateResultResponse, Result, ResultStatus

_COLUMNS: out.Columns = {
    "issue": lambda r: r.issue_id,
    "agent_type": lambda r: r.agent_type,
    "status": lambda r: _status(r),
    "timestamp": lambda r: codec.rfc3339(r.timestamp),
    "id": lambda r: r.id,
    "summary": lambda r: summary(r),
}


@click.group(name="results", cls=Group)
def command() -> None:
    """Store and show agents' results."""


@command.command()
@click.option("--agent", help="Agent id; also the agent type if --agent-type is not given.")
@click.option("--agent-type", shell_complete=agent_types, help="Agent type.  [default: --agent]")
@click.option("--issue", "issue_id", help="Issue that the agent worked on.")
@project_option
@click.option(
    "--status",
    type=click.Choice(["success", "partial", "failed"]),
    help="Outcome of the work.  [default: success; required with --error]",
)
@click.option("--files-created", help="Comma-separated paths.")
@click.option("--files-modified", help="Comma-separated paths.")
@click.option("--decisions", help="What other agents should know; sentences separated by semicolons.")
@click.option("--error", "errors", multiple=True, metavar="TEXT", help="What went wrong; can be repeated.")
@click.option("--warning", "warnings", multiple=True, metavar="TEXT", help="What needs attention; can be repeated.")
@click.option("--next-step", "next_steps", multiple=True, metavar="TEXT", help="What to do next; can be repeated.")
@click.option(
    "--artifact", "artifacts", multiple=True, metavar="NAME=FILE", help="A text, such as a report; can be repeated."
)
@click.option("--metrics", help="Metrics, as a JSON object of numbers.")
@click.option("--idempotency-key", default="", help="Repeating the call with the same key stores one result.")
@click.option("--input", "source", metavar="FILE", help="Read the request body from a JSON file; - for stdin.")
@out.formatted
@connected
def store(client: Client, source: str | None, form: str | None, output: Path | None, **given: Any) -> None:
    """Store a result from options or a JSON file."""
    if source is not None:
        request = codec.from_dict(CreateResultRequest, out.read_json(source))
        assert isinstance(request, CreateResultRequest)
        answer = client.results.create(
            request.result,
            agent_id=request.agent_id,
            agent_type=request.agent_type,
            issue_id=request.issue_id,
            project_id=request.project_id,
            timestamp=request.timestamp if request.HasField("timestamp") else None,
            idempotency_key=given["idempotency_key"] or request.idempotency_key,
        )
    else:
        agent_type = given["agent_type"] or given["agent"]
        if not agent_type or not given["issue_id"]:
            raise click.UsageError("specify --agent (or --agent-type) and --issue, or --input FILE")
        named = given["agent"] or agent_type
        result = _result(given)
        answer = client.results.create(
            result,
            # An agent that passes its own type as --agent means itself.
            agent_id="" if named == claims_of(client.token).get("agent_type") else named,
            agent_type=agent_type,
            issue_id=given["issue_id"],
            project_id=given["project_id"],
            idempotency_key=given["idempotency_key"],
        )
    out.message(answer, form, output, lambda: _stored(answer))


@command.command(name="list")
@click.option("--issue", "issue_id", default="", help="Filter by issue.")
@click.option("--agent-type", default="", shell_complete=agent_types, help="Filter by type.")
@project_option
@click.option("--limit", type=Integer(1, 1000), help="Maximum number to list.  [default: 100]")
@click.option("--cursor", default="", help="Cursor printed by the previous page.")
@click.option("--latest", is_flag=True, help="Only the newest of each issue and agent type.")
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, form: str | None, output: Path | None, **wanted: Any) -> None:
    """List results, grouped by issue."""
    page = client.results.list(**wanted)
    results = [each.message for each in page.results]
    out.rows(results, _COLUMNS, form, output, lambda: _by_issue(results))
    out.more(page.next_cursor)


@command.command()
@click.argument("issue", required=False)
@click.argument("agent_type", metavar="TYPE", required=False, shell_complete=agent_types)
@click.option("--issue", "issue_option", metavar="ISSUE", help="Same as the ISSUE argument.")
@click.option(
    "--agent-type",
    "--agent",
    "agent_option",
    metavar="TYPE",
    shell_complete=agent_types,
    help="Same as the TYPE argument.",
)
@project_option
@out.formatted
@connected
def get(
    client: Client,
    issue: str | None,
    agent_type: str | None,
    issue_option: str | None,
    agent_option: str | None,
    project_id: str,
    form: str | None,
    output: Path | None,
) -> None:
    """Show the newest result of ISSUE by TYPE."""
    issue, agent_type = issue or issue_option, agent_type or agent_option
    if not issue or not agent_type:
        raise click.UsageError("specify the issue and the agent type: cco results get ISSUE TYPE")
    result = client.results.get(issue_id=issue, agent_type=agent_type, project_id=project_id).message
    out.message(result, form, output, lambda: _one(result))


def _result(given: dict[str, Any]) -> dict[str, Any]:
    if given["errors"] and not given["status"]:
        raise click.UsageError("specify --status failed or --status partial with --error")
    result: dict[str, Any] = {"status": given["status"] or "success"}
    for name in ("files_created", "files_modified"):
        if given[name]:
            result[name] = [path.strip() for path in given[name].split(",") if path.strip()]
    if given["decisions"]:
        result["decisions"] = [text.strip() for text in given["decisions"].split(";") if text.strip()]
    result |= {name: list(given[name]) for name in ("errors", "warnings", "next_steps") if given[name]}
    if given["artifacts"]:
        result["artifacts"] = dict(map(_artifact, given["artifacts"]))
    if given["metrics"]:
        result["metrics"] = out.parse_json(given["metrics"], "--metrics")
    return result


def _artifact(given: str) -> tuple[str, str]:
    name, equals, path = given.partition("=")
    if not (name and equals and path):
        raise click.UsageError(f"--artifact {given!r} is not NAME=FILE")
    try:
        return name, Path(path).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise click.UsageError(f"--artifact: cannot read {path} as text: {problem}") from problem


def summary(result: Result) -> str:
    """Returns the first error, decision or next step, or else the status."""
    work = result.result
    for texts in (work.errors, work.decisions, work.next_steps):
        if texts:
            return str(texts[0])
    return _status(result)


def _status(result: Result) -> str:
    return codec.enum_name(ResultStatus.DESCRIPTOR, result.result.status)


def _by_issue(results: list[Result]) -> str:
    if not results:
        return "no results"
    lines = []
    for issue, group in groupby(sorted(results, key=lambda r: r.issue_id), key=lambda r: r.issue_id):
        lines.append(f"{issue}:")
        lines += [f"  - {result.agent_type}: {summary(result)}" for result in group]
    return "\n".join(lines)


def _stored(answer: CreateResultResponse) -> str:
    lines = [f"stored {answer.id} in {answer.storage_path}"]
    lines += [f"  next: {agent.agent_type} ({agent.priority}): {agent.reason}" for agent in answer.next_agents]
    return "\n".join(lines)


def _one(result: Result) -> str:
    work = codec.to_dict(result.result)
    lines = [
        f"{result.issue_id} {result.agent_type}: {work.pop('status')}",
        f"  agent: {result.agent_id}",
        f"  id: {result.id}",
    ]
    for name, value in work.items():
        if isinstance(value, dict):
            lines += [f"  {name}.{key}: {item}" for key, item in value.items()]
        elif isinstance(value, list):
            lines += [f"  {name}: {item.get('path', item) if isinstance(item, dict) else item}" for item in value]
        else:
            lines.append(f"  {name}: {value}")
    return "\n".join(lines)
