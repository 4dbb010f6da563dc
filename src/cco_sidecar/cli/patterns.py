"""`cco patterns request|reply|wait|scatter|phase|refine|guard`: how agents work together by events."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.bus import filters
from cco_sidecar.bus.journal import is_event_id
from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.events import COLUMNS, cursor_at, line, since_of, timeout_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Integer
from cco_sidecar.cli.terminal import echo, one_line
from cco_sidecar.cli.worker import require_program, run
from cco_sidecar.client import (
    CircuitOpenError,
    Client,
    Event,
    NotAcceptedError,
    NotEnoughEventsError,
)
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError


class _NotRun(click.ClickException):
    # What mail programs return for a temporary failure.
    exit_code = 75


_data = click.option(
    "--data",
    default="{}",
    help="Event data, as a JSON object.",
    callback=lambda _, __, value: out.parse_object(value, "--data"),
)
_topic = click.option("--topic", default="", help="Topic.  [default: coordination]")
_reply_type = click.option("--reply-type", default="", help="Only a reply of this type counts.")


@click.group(name="patterns", cls=Group)
def command() -> None:
    """Ask, wait, divide work, and try again, by events."""


@command.command()
@click.argument("event_type", metavar="TYPE")
@_data
@_reply_type
@_topic
@timeout_option
@project_option
@out.formatted
@connected
def request(client: Client, event_type: str, form: str | None, output: Path | None, **options: Any) -> None:
    """Publish a request, and print the first reply."""
    with _in_time():
        reply = client.patterns.request(event_type, options.pop("data"), **options)
    out.message(reply.message, form, output, lambda: line(reply.message))


@command.command()
@click.argument("event_id")
@click.argument("event_type", metavar="TYPE")
@_data
@click.option("--topic", default="", help="Topic.  [default: that of the request]")
@project_option
@connected
def reply(client: Client, event_id: str, event_type: str, data: dict[str, Any], topic: str, project_id: str) -> None:
    """Reply to the request with this event id."""
    if not is_event_id(event_id):
        raise click.UsageError(f"'{event_id}' is not the id of an event, such as evt-1a2b3c4d-0000000001")
    answer = client.events.publish(event_type, data, topic=topic, causation_id=event_id, project_id=project_id)
    echo(f"published {answer.event_id} on {answer.topic}")


@command.command()
@click.argument("event_types", metavar="TYPE...", nargs=-1, required=True)
@click.option("--all", "every", is_flag=True, help="Wait for one event of each type, not of any.")
@click.option("--count", type=Integer(min=1), default=1, help="Number of events to wait for.  [default: 1]")
@click.option("--distinct", default="", help="Count each value of this field once: publisher, or a key of the data.")
@click.option("--filter", default="", help="Filter expression, such as issue_id:issue-123.")
@click.option("--since", default="", help="Include events since this event id, time or age such as 10m.")
@timeout_option
@project_option
@partial(out.formatted, lists=True)
@connected
def wait(
    client: Client,
    event_types: tuple[str, ...],
    every: bool,
    count: int,
    distinct: str,
    since: str,
    form: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Wait for an event of any of several types, for all of them, or for a number of events, and print them."""
    if every and (distinct or count != 1):
        raise click.UsageError("--all waits for one event of each type: leave out --count and --distinct")
    cursor, moment = since_of(since)
    if not cursor:
        cursor = cursor_at(client, moment, options["project_id"])
    with _in_time():
        if every:
            found = list(client.patterns.wait_all(event_types, since=cursor, **options).values())
        else:
            found = client.patterns.collect(count, event_types, distinct=distinct, since=cursor, **options)
    _print(found, form, output)


@command.command()
@click.argument("event_type", metavar="TYPE")
@click.option("--input", "source", metavar="FILE", required=True, help="A JSON array of event data; - for stdin.")
@_reply_type
@_topic
@timeout_option
@project_option
@partial(out.formatted, lists=True)
@connected
def scatter(
    client: Client, event_type: str, source: str, form: str | None, output: Path | None, **options: Any
) -> None:
    """Publish a request for each item, and print the replies in the order of the items."""
    items = out.read_json(source)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise click.UsageError(f"{source} must be a JSON array of objects, one for each request")
    with _in_time():
        _print(client.patterns.scatter(event_type, items, **options), form, output)


@command.command()
@click.argument("phase")
@click.option("--wait", "agents", type=Integer(min=1), help="Wait until this many agents are done.")
@_data
@click.option("--filter", default="", help="Count only what matches, such as issue_id:issue-123.")
@timeout_option
@project_option
@partial(out.formatted, lists=True)
@connected
def phase(
    client: Client,
    phase: str,
    agents: int | None,
    data: dict[str, Any],
    form: str | None,
    output: Path | None,
    project_id: str,
    **options: Any,
) -> None:
    """Say that you are done with a phase, or wait until others are."""
    if agents is None:
        echo(f"published {client.patterns.finish_phase(phase, data, project_id=project_id)}")
        return
    with _in_time():
        _print(client.patterns.wait_phase(phase, agents, project_id=project_id, **options), form, output)


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("event_type", metavar="TYPE")
@click.argument("program", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@_data
@click.option("--accept", required=True, help="Filter that an accepted reply matches, such as approved:true.")
@click.option("--rounds", type=Integer(min=1), default=5, show_default=True, help="Most replies to try.")
@_reply_type
@_topic
@timeout_option
@project_option
@out.formatted
@connected
def refine(
    client: Client,
    event_type: str,
    program: tuple[str, ...],
    data: dict[str, Any],
    accept: str,
    form: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Ask until a reply is accepted.

    For each reply that is not, the command gets it as JSON on its stdin, and prints the data of the next request as
    JSON.
    """
    wanted = filters.parse(accept)

    def revise(refused: Event) -> Mapping[str, Any]:
        ended = run(program, codec.to_json(refused.message), stdout=subprocess.PIPE)
        if ended.returncode:
            raise click.ClickException(f"{program[0]} failed with exit status {ended.returncode}")
        try:
            return out.parse_object(ended.stdout.decode(errors="replace"), f"the output of {program[0]}")
        except click.UsageError as problem:
            raise click.ClickException(problem.message) from None

    try:
        with _in_time():
            reply = client.patterns.refine(
                event_type,
                data,
                accepted=lambda reply: wanted.matches(codec.to_dict(reply.message)),
                revise=revise,
                **options,
            )
    except NotAcceptedError as problem:
        raise click.ClickException(f"{problem}; the last: {line(problem.replies[-1].message)}") from None
    out.message(reply.message, form, output, lambda: line(reply.message))


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("program", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--max-failures", type=Integer(min=1), default=3, show_default=True, help="Failures in a row.")
@click.option(
    "--open-seconds",
    type=Integer(0, 31_536_000),
    default=60,
    show_default=True,
    help="Seconds before it is tried again.",
)
@project_option
@connected
def guard(client: Client, name: str, program: tuple[str, ...], **options: Any) -> None:
    """Run a command, unless it failed too often: a circuit breaker that all agents share.

    Exits with the exit status of the command, or 75 if it was not run.
    """
    require_program(program[0])
    circuit = client.patterns.circuit(name, **options)
    try:
        circuit.enter()
    except CircuitOpenError as problem:
        raise _NotRun(str(problem)) from None
    try:
        ended = run(program)
    except click.ClickException as problem:
        circuit.failed(problem.message)
        raise
    try:
        if ended.returncode == 0:
            circuit.succeeded()
        else:
            circuit.failed(f"exit status {ended.returncode}")
    except (SidecarError, CircuitOpenError) as problem:
        echo(f"cco: the outcome could not be recorded: {one_line(str(problem))}", err=True)
    click.get_current_context().exit(ended.returncode if ended.returncode >= 0 else 128 - ended.returncode)


@contextmanager
def _in_time() -> Iterator[None]:
    """Says on stderr what came, if it was not enough."""
    try:
        with out.waiting("waiting for events ..."):
            yield
    except NotEnoughEventsError as problem:
        for event in problem.events:
            echo(line(event.message), err=True)
        raise click.ClickException(str(problem)) from None


def _print(events: Sequence[Event], form: str | None, output: Path | None) -> None:
    found = [each.message for each in events]
    out.rows(found, COLUMNS, form, output, lambda: "\n".join(map(line, found)))
