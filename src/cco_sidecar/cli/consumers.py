"""`cco consumers`: durable consumers, work on their events, and dead letters."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.events import since_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Duration, Integer, Seconds
from cco_sidecar.cli.terminal import counted, echo, one_line
from cco_sidecar.cli.worker import handle, require_program
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from orchestra.v1.consumer_service_pb2 import Consumer, DeadLetter
from orchestra.v1.consumer_service_pb2 import Delivery as DeliveryMessage

_COLUMNS: out.Columns = {
    "name": lambda c: c.name,
    "lag": lambda c: str(c.lag),
    "in_flight": lambda c: str(c.in_flight_count),
    "dead_letters": lambda c: str(c.dead_letter_count),
    "workers": lambda c: str(len(c.workers)),
    "created_by": lambda c: c.created_by,
}
_LETTER_COLUMNS: out.Columns = {
    "dead_letter_id": lambda d: d.dead_letter_id,
    "consumer": lambda d: d.consumer,
    "event_type": lambda d: d.event.event_type,
    "event_id": lambda d: d.event.event_id,
    "attempts": lambda d: str(d.attempts),
    "reason": lambda d: d.reason,
}
_DELIVERY_COLUMNS: out.Columns = {
    "delivery_id": lambda d: d.delivery_id,
    "attempt": lambda d: str(d.attempt),
    "event_type": lambda d: d.event.event_type,
    "topic": lambda d: d.event.topic,
    "publisher": lambda d: d.event.publisher,
    "data": lambda d: codec.to_json(d.event.data).decode(),
}


@click.group(name="consumers", cls=Group)
def command() -> None:
    """Create durable consumers, work on their events, and handle dead letters."""


@command.command()
@click.argument("name")
@click.option("--event-type", "--type", "event_types", multiple=True, help="Select this event type; repeatable.")
@click.option("--topic", "topics", multiple=True, help="Select this topic; repeatable.")
@click.option("--filter", default="", help="Filter expression, such as issue_id:issue-123.")
@click.option(
    "--ack-wait",
    "ack_wait_seconds",
    type=Seconds(1, 43_200),
    help="Seconds (or 1h) to acknowledge an event.  [default: 30]",
)
@click.option("--max-deliveries", type=Integer(1, 100), help="Deliveries before it is a dead letter.  [default: 5]")
@click.option("--max-in-flight", type=Integer(1, 1000), help="Most events in flight at a time.  [default: 100]")
@click.option("--shared", is_flag=True, help="Let other agents of the project consume.")
@click.option("--agent-type", "agent_types", multiple=True, help="With --shared: only agents of this type; repeatable.")
@click.option("--since", default="", help="Begin after this event id, time, or age such as 10m.  [default: now]")
@project_option
@out.formatted
@connected
def create(client: Client, name: str, since: str, form: str | None, output: Path | None, **settings: Any) -> None:
    """Create a consumer; does nothing if it exists with the same settings."""
    cursor, moment = since_of(since)
    made = client.consumers.create(name, since=cursor, since_time=moment, **settings)
    out.message(made, form, output, lambda: f"consumer {made.name} begins after {made.cursor}")


@command.command(name="list")
@project_option
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, project_id: str, form: str | None, output: Path | None) -> None:
    """List consumers by name."""
    found = list(client.consumers.list(project_id=project_id))
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(map(_line, found)) or "no consumers")


@command.command()
@click.argument("name")
@project_option
@out.formatted
@connected
def show(client: Client, name: str, project_id: str, form: str | None, output: Path | None) -> None:
    """Show a consumer and what is in flight."""
    found = client.consumers.get(name, project_id=project_id)

    def text() -> str:
        lines = [_line(found)]
        for each in found.in_flight:
            holder = f"held by {each.held_by} until" if each.held_by else "again at"
            lines.append(f"  {each.event_id}  delivery {each.attempt}, {holder} {codec.rfc3339(each.due)}")
        return "\n".join(lines)

    out.message(found, form, output, text)


@command.command()
@click.argument("name")
@project_option
@connected
def delete(client: Client, name: str, project_id: str) -> None:
    """Delete a consumer and its dead letters."""
    letters = client.consumers.delete(name, project_id=project_id)
    echo(f"deleted {name} and {counted(letters, 'dead letter')}")


@command.command()
@click.argument("name")
@click.option("--since", required=True, help="Continue after this event id, 0, $, a time, or an age such as 10m.")
@project_option
@connected
def reset(client: Client, name: str, since: str, project_id: str) -> None:
    """Move a consumer to another position."""
    cursor, moment = since_of(since)
    moved = client.consumers.reset(name, since=cursor, since_time=moment, project_id=project_id)
    echo(f"{name} begins again at the oldest event" if cursor == "0" else f"{name} continues after {moved.cursor}")


@command.command()
@click.argument("name")
@click.option("--limit", type=Integer(1, 512), help="Maximum number of events.  [default: 10]")
@click.option("--timeout", type=Seconds(0, 300), default=30, show_default=True, help="Seconds to wait.")
@click.option("--ack", is_flag=True, help="Acknowledge them at once.")
@project_option
@partial(out.formatted, lists=True)
@connected
def pull(
    client: Client,
    name: str,
    limit: int | None,
    timeout: int,
    ack: bool,
    project_id: str,
    form: str | None,
    output: Path | None,
) -> None:
    """Take the next events of a consumer, and print them with their delivery ids."""
    with out.waiting("waiting for events ..."):
        taken = client.consumers.pull(name, limit=limit, timeout=float(timeout), project_id=project_id)
    found = [each.message for each in taken]
    out.rows(found, _DELIVERY_COLUMNS, form, output, lambda: "\n".join(map(_delivery_line, found)) or "no events")
    if ack and taken:
        client.consumers.ack(name, [each.delivery_id for each in taken], project_id=project_id)


@command.command()
@click.argument("name")
@click.argument("delivery_ids", metavar="DELIVERY...", nargs=-1, required=True)
@project_option
@connected
def ack(client: Client, name: str, delivery_ids: tuple[str, ...], project_id: str) -> None:
    """Acknowledge events: they are not delivered again."""
    _report(client.consumers.ack(name, delivery_ids, project_id=project_id), len(delivery_ids), "acknowledged")


@command.command()
@click.argument("name")
@click.argument("delivery_ids", metavar="DELIVERY...", nargs=-1, required=True)
@click.option("--reason", default="", help="Why, for people who read the dead letter.")
@click.option("--delay", "delay_seconds", type=Duration(min=0), help="Seconds (or 1h) until they are delivered again.")
@click.option("--dead-letter", is_flag=True, help="Do not deliver them again.")
@project_option
@connected
def nack(client: Client, name: str, delivery_ids: tuple[str, ...], **options: Any) -> None:
    """Give events back, to be delivered again."""
    done = "made dead letters" if options["dead_letter"] else "given back"
    _report(client.consumers.nack(name, delivery_ids, **options), len(delivery_ids), done)


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("program", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--limit", type=Integer(min=1), help="Exit after this many events.")
@project_option
@connected
def work(client: Client, name: str, program: tuple[str, ...], limit: int | None, project_id: str) -> None:
    """Run a command for each event, with the event as JSON on its stdin.

    Exit status 0 acknowledges the event; any other gives it back, to be delivered again. The command may run as long
    as it needs. Several 'cco consumers work' share the events.
    """
    require_program(program[0])
    if limit is None:
        for delivery in client.consumers.consume(name, max_in_flight=1, project_id=project_id):
            handle(delivery, program)
        return
    # A stream would have the next event before it is known that this was the last.
    while limit:
        for delivery in client.consumers.pull(name, limit=1, project_id=project_id):
            handle(delivery, program)
            limit -= 1


@command.command(name="dead-letters")
@click.argument("name", metavar="[NAME]", default="")
@click.option("--limit", type=Integer(1, 1000), help="Maximum number to list.  [default: 100]")
@click.option("--cursor", default="", help="Cursor printed by the previous page.")
@project_option
@partial(out.formatted, lists=True)
@connected
def dead_letters(client: Client, name: str, form: str | None, output: Path | None, **wanted: Any) -> None:
    """List the dead letters of a consumer, or of all, newest first."""
    page = client.consumers.dead_letters(name, **wanted)
    found = list(page.dead_letters)
    out.rows(found, _LETTER_COLUMNS, form, output, lambda: "\n".join(map(_letter_line, found)) or "no dead letters")
    out.more(page.next_cursor)


@command.command()
@click.argument("dead_letter_id")
@project_option
@out.formatted
@connected
def inspect(client: Client, dead_letter_id: str, project_id: str, form: str | None, output: Path | None) -> None:
    """Show a dead letter with its event."""
    found = client.consumers.dead_letter(dead_letter_id, project_id=project_id)
    out.message(found, form or "json", output, str)


@command.command()
@click.argument("name")
@click.argument("dead_letter_ids", metavar="[DEAD_LETTER]...", nargs=-1)
@project_option
@connected
def replay(client: Client, name: str, dead_letter_ids: tuple[str, ...], project_id: str) -> None:
    """Deliver dead letters of a consumer again: those that are named, or the oldest 1,000."""
    replayed = client.consumers.replay(name, dead_letter_ids, project_id=project_id)
    echo(f"{counted(replayed, 'dead letter')} delivered again")


@command.command()
@click.argument("dead_letter_id")
@project_option
@connected
def discard(client: Client, dead_letter_id: str, project_id: str) -> None:
    """Delete a dead letter."""
    client.consumers.delete_dead_letter(dead_letter_id, project_id=project_id)
    echo(f"deleted {dead_letter_id}")


def _line(consumer: Consumer) -> str:
    return (
        f"{consumer.name}  {consumer.lag} behind, {consumer.in_flight_count} in flight, "
        f"{counted(consumer.dead_letter_count, 'dead letter')}, {counted(len(consumer.workers), 'worker')}"
    )


def _delivery_line(delivery: DeliveryMessage) -> str:
    return f"{delivery.delivery_id}  {delivery.event.event_type}  {codec.to_json(delivery.event.data).decode()}"


def _letter_line(letter: DeadLetter) -> str:
    state = "replaying" if letter.replaying else counted(letter.attempts, "delivery", "deliveries")
    return f"{letter.dead_letter_id}  {letter.consumer}  {letter.event.event_type}  {state}: {one_line(letter.reason)}"


def _report(not_held: Any, count: int, what: str) -> None:
    done = f"{count - len(not_held)} {what}"
    if not_held:
        raise click.ClickException(f"{done}; not held, or too late: {', '.join(not_held)}")
    echo(done)
