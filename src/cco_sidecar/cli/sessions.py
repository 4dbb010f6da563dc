"""`cco sessions new|resume|list|show|result|events|stop|delete`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Integer
from cco_sidecar.cli.terminal import echo, one_line, visible
from cco_sidecar.client import Client
from cco_sidecar.core import codec, documents
from orchestra.v1.session_service_pb2 import GetSessionResultResponse, Session, SessionEvent, SessionStatus

_STATUSES = ["pending", "running", "finished", "failed", "stopped"]
_MAX_NUMBER = 2**32 - 1
_COLUMNS: out.Columns = {
    "name": lambda s: s.name,
    "status": lambda s: status_of(s),
    "blueprint": lambda s: s.blueprint,
    "events": lambda s: str(s.event_count),
    "modified_at": lambda s: codec.rfc3339(s.modified_at),
    "session_id": lambda s: s.session_id,
    "agent_id": lambda s: s.agent_id,
    "parent_session_id": lambda s: s.parent_session_id,
}


def status_of(session: Session) -> str:
    """Returns the status as in JSON."""
    return codec.enum_name(SessionStatus.DESCRIPTOR, session.status)


@click.group(name="sessions", cls=Group)
def command() -> None:
    """Named conversations with an agent: start, resume, read."""


prompt_option = click.option("--prompt", "-p", help="What its agent should do; followed by standard input, if any.")


def read_prompt(given: str | None) -> str:
    """Returns ``given``, and then standard input if it is not a terminal. Raises ClickException if both are empty."""
    texts = [given] if given else []
    if not sys.stdin.isatty():
        texts.append(sys.stdin.buffer.read().decode(errors="replace"))
    text = "\n".join(filter(None, texts))
    if not text.strip():
        raise click.ClickException("no prompt given: use -p, or standard input")
    return text


@command.command()
@click.argument("name")
@prompt_option
@click.option("--blueprint", default="", help="Blueprint or agent type.  [default: sessions.blueprint]")
@click.option("--parameters", type=click.File("rb"), help="JSON file with parameters for the blueprint's schema.")
@click.option("--parent", "parent_session_id", default="", help="Session that starts it.")
@click.option("--issue", "issue_id", default="", help="Issue that its agent works on.")
@click.option("--model", default="", help="Model, such as sonnet.")
@click.option("--detach", is_flag=True, help="Return at once, and print the session.")
@project_option
@connected
def new(
    client: Client,
    name: str,
    prompt: str | None,
    parameters: Any,
    detach: bool,
    project_id: str,
    **more: Any,
) -> None:
    """Start a session, wait for its end, and print its result."""
    given = _parameters(parameters)
    text = read_prompt(prompt) if given is None else prompt or ""
    session = client.sessions.create(name, text, parameters=given, project_id=project_id, **more)
    if detach:
        echo(_details(session))
    else:
        print_result(client, session)


def _parameters(file: Any) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        found = documents.parse(file.read())
    except ValueError as problem:
        raise click.ClickException(f"{file.name} {problem}") from None
    if not isinstance(found, dict):
        raise click.ClickException(f"{file.name} must hold a JSON object")
    return found


def print_result(client: Client, session: Session) -> None:
    """Waits for the end of a session and prints its result. Raises ClickException if it does not finish its work."""
    with out.waiting("waiting for the session to end ..."):
        found = client.sessions.wait(session.session_id, project_id=session.project_id)
    if found.text:
        echo(found.text)
    _warn_of(found)
    ended = client.sessions.get(session.session_id, project_id=session.project_id)
    if status_of(ended) != "finished":
        raise click.ClickException(f"session '{ended.name}' {status_of(ended)}: {ended.reason}")


def _warn_of(found: GetSessionResultResponse) -> None:
    if found.problem:
        echo(f"cco: {visible(found.problem)}", err=True)


@command.command()
@click.argument("session")
@prompt_option
@click.option("--detach", is_flag=True, help="Return at once, and print the session.")
@project_option
@connected
def resume(client: Client, session: str, prompt: str | None, detach: bool, project_id: str) -> None:
    """Resume a session that has ended, wait for its end, and print its result."""
    resumed = client.sessions.resume(session, read_prompt(prompt), project_id=project_id)
    if detach:
        echo(_details(resumed))
    else:
        print_result(client, resumed)


@command.command(name="list")
@click.option("--status", type=click.Choice(_STATUSES), help="Only sessions with this status.")
@click.option("--parent", "parent_session_id", default="", help="Only sessions that this one started.")
@click.option("--limit", type=Integer(1, 1000), help="Maximum number to list.  [default: 100]")
@click.option("--cursor", default="", help="Cursor printed by the previous page.")
@project_option
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, status: str | None, form: str | None, output: Path | None, **wanted: Any) -> None:
    """List sessions, newest first."""
    answer = client.sessions.list(status=status or "", **wanted)
    found = list(answer.sessions)
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(map(_line, found)) or "no sessions")
    out.more(answer.next_cursor)


def _line(session: Session) -> str:
    return f"{session.name}  {status_of(session)}  {session.blueprint}  ({one_line(session.reason)})"


@command.command()
@click.argument("session")
@project_option
@out.formatted
@connected
def show(client: Client, session: str, project_id: str, form: str | None, output: Path | None) -> None:
    """Show a session."""
    found = client.sessions.get(session, project_id=project_id)
    out.message(found, form, output, lambda: _details(found))


def _details(session: Session) -> str:
    value = codec.to_dict(session)
    for key in [key for key, each in value.items() if isinstance(each, dict)]:
        value |= {f"{key}.{name}": each for name, each in value.pop(key).items()}
    shown = {key: each for key, each in value.items() if each not in (None, "", [], {}, 0, False)}
    return "\n".join(f"{key}: {one_line(str(each))}" for key, each in shown.items())


@command.command()
@click.argument("session")
@click.option("--wait", is_flag=True, help="Wait for its end.")
@project_option
@out.formatted
@connected
def result(client: Client, session: str, wait: bool, project_id: str, form: str | None, output: Path | None) -> None:
    """Print what a session has answered."""
    if wait:
        with out.waiting("waiting for the session to end ..."):
            found = client.sessions.wait(session, project_id=project_id)
    else:
        found = client.sessions.result(session, project_id=project_id)
    status = codec.enum_name(SessionStatus.DESCRIPTOR, found.status)
    if status in ("pending", "running"):
        raise click.ClickException(f"session '{session}' has not ended: it is {status}; --wait waits for its end")
    out.message(found, form, output, lambda: found.text)
    if form is None:
        _warn_of(found)


@command.command()
@click.argument("session")
@click.option("--after", type=Integer(0, _MAX_NUMBER), default=0, help="Only events after this number.")
@click.option("--limit", type=Integer(1, 1000), help="Maximum number to list.  [default: 100]")
@project_option
@out.formatted
@connected
def events(
    client: Client,
    session: str,
    after: int,
    limit: int | None,
    project_id: str,
    form: str | None,
    output: Path | None,
) -> None:
    """List what happened in a session, oldest first."""
    found = client.sessions.events(session, after=after, limit=limit, project_id=project_id)
    out.message(found, form, output, lambda: "\n".join(map(_event_line, found.events)) or "no events")
    if found.more_available:
        echo(f"more: --after {found.last}", err=True)


def _event_line(event: SessionEvent) -> str:
    texts = " ".join(part.text for part in event.content)
    what = texts or " ".join(filter(None, (event.tool_name, event.error, event.reason)))
    role = f" {event.role}" if event.role else ""
    return (
        f"{event.sequence}  {codec.rfc3339(event.timestamp)}  {event.event_type}{role}  {one_line(what)[:200]}".rstrip()
    )


@command.command()
@click.argument("session")
@project_option
@connected
def stop(client: Client, session: str, project_id: str) -> None:
    """Stop a session."""
    stopped = client.sessions.stop(session, project_id=project_id)
    echo(f"session {stopped.name} is {status_of(stopped)}")


@command.command()
@click.argument("session")
@click.option("--force", is_flag=True, help="Stop it first.")
@project_option
@connected
def delete(client: Client, session: str, force: bool, project_id: str) -> None:
    """Delete a session with its events."""
    count = client.sessions.delete(session, force=force, project_id=project_id)
    echo(f"deleted session {session} with {count} events")
