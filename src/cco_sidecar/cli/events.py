"""`cco events publish|subscribe|list|show|replay|tree`."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.bus.journal import is_event_id
from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Integer, Seconds
from cco_sidecar.cli.terminal import counted, echo
from cco_sidecar.client import Client, EventPage, NotFoundError
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError
from orchestra.v1.event_service_pb2 import Event, PublishEventRequest

COLUMNS: out.Columns = {
    "timestamp": lambda e: codec.rfc3339(e.timestamp),
    "event_type": lambda e: e.event_type,
    "topic": lambda e: e.topic,
    "publisher": lambda e: e.publisher,
    "event_id": lambda e: e.event_id,
    "data": lambda e: codec.to_json(e.data).decode(),
}
_AGE_PATTERN = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MAX_POLL_SECONDS = 60.0


timeout_option = click.option(
    "--timeout",
    type=Integer(min=0),
    default=30_000,
    show_default=True,
    help="Milliseconds to wait; values below 1000 are seconds.",
    callback=lambda _, __, value: value if value < 1000 else value / 1000,
)


@click.group(name="events", cls=Group)
def command() -> None:
    """Publish, list and wait for events."""


@command.command()
@click.argument("type_argument", metavar="[TYPE]", required=False)
@click.option("--event-type", "--type", "event_type", help="Event type, such as tests_passing; same as TYPE.")
@click.option("--topic", default="", help="Topic.  [default: coordination]")
@click.option("--data", help="Event data, as a JSON object.")
@click.option("--correlation-id", default="", help="ID that links related events, such as another event's id.")
@click.option("--causation-id", default="", help="ID of the event that caused it.")
@click.option("--state-key", default="", help="Key of the value that it carries, for list --latest.")
@click.option(
    "--ttl", type=Seconds(1, 86_400), help="Seconds (or 1h) until it is no longer delivered.  [default: 86400]"
)
@click.option(
    "--priority",
    type=click.Choice(["low", "normal", "high"]),
    help="high is delivered at once.  [default: normal]",
)
@click.option("--idempotency-key", default="", help="Repeating the call with the same key publishes once.")
@click.option(
    "--expected-last",
    "expected_last_event_id",
    default="",
    help="Publish only if this is the id of the topic's newest event; 0 if it has none.",
)
@click.option("--publisher", default="", help="Publish as this agent; operator only.")
@project_option
@click.option("--input", "source", metavar="FILE", help="Read the request body from a JSON file; - for stdin.")
@out.formatted
@connected
def publish(
    client: Client,
    type_argument: str | None,
    event_type: str | None,
    data: str | None,
    ttl: int | None,
    source: str | None,
    form: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Publish an event from options or a JSON file."""
    if type_argument and event_type and type_argument != event_type:
        raise click.UsageError(f"two types: {type_argument} and --event-type {event_type}")
    event_type = type_argument or event_type
    if source is not None:
        value = out.read_json(source)
        codec.from_dict(PublishEventRequest, value)
        # An option changes what the file says.
        event_type = event_type or value.pop("event_type", None)
        body = out.parse_object(data, "--data") if data else value.get("data") or {}
        given = {name: each for name, each in (options | {"ttl_seconds": ttl}).items() if each not in (None, "")}
        options = {name: each for name, each in value.items() if name not in ("event_type", "data")} | given
    else:
        body = out.parse_object(data, "--data") if data else {}
        options["ttl_seconds"] = ttl
    if not event_type:
        raise click.UsageError("specify a TYPE (or --event-type), or --input FILE with an event_type")
    answer = client.events.publish(event_type, body, **options)
    out.message(
        answer,
        form,
        output,
        lambda: (
            f"published earlier: {answer.event_id} on {answer.topic}"
            if answer.duplicate
            else f"published {answer.event_id} on {answer.topic} to {counted(answer.subscriber_count, 'subscriber')}"
        ),
    )


@command.command()
@click.argument("event_type", metavar="[TYPE]", default="")
@click.option("--topic", default="", help="Filter by topic.")
@click.option(
    "--filter",
    "expression",
    default="",
    help="Filter expression, such as issue_id:issue-123,status:success|status:partial",
)
@timeout_option
@click.option("--continuous", is_flag=True, help="Run until interrupted.")
@click.option("--limit", type=Integer(min=1), help="Exit after this many events.")
@click.option(
    "--since",
    default="",
    help="Start after this event id, time, or age such as 10m.",
)
@project_option
@out.formatted
@connected
def subscribe(
    client: Client,
    event_type: str,
    topic: str,
    expression: str,
    timeout: float,
    continuous: bool,
    limit: int | None,
    since: str,
    project_id: str,
    form: str | None,
    output: Path | None,
) -> None:
    """Wait for events and print them as they arrive."""
    _require_lines(form, output)
    cursor, moment = since_of(since)
    if continuous:
        events = client.events.subscribe(
            event_types=[event_type] if event_type else [],
            topics=[topic] if topic else [],
            filter=expression,
            since=cursor,
            since_time=moment,
            project_id=project_id,
        )
        with out.waiting("waiting for events ..."):
            for count, event in enumerate(events, 1):
                _show(event.message, form)
                if count == limit:
                    return
    if not cursor or cursor == "$":
        cursor = cursor_at(client, moment, project_id)
    _poll(
        client,
        timeout,
        limit,
        form,
        cursor,
        event_type=event_type,
        topic=topic,
        filter=expression,
        project_id=project_id,
    )


def _poll(client: Client, seconds: float, limit: int | None, form: str | None, cursor: str, **wanted: str) -> None:
    """Prints events until at least one has arrived, or ``limit`` if given, or the time is up."""
    end = time.monotonic() + seconds
    shown = 0
    with out.waiting("waiting for events ..."):
        while True:
            left = min(max(0.0, end - time.monotonic()), _MAX_POLL_SECONDS)
            answer = _wait(client, left, cursor, (limit or 1000) - shown, wanted)
            for event in answer.events:
                _show(event.message, form)
                shown += 1
            cursor = answer.next_cursor or cursor
            if (shown and limit is None) or (limit is not None and shown >= limit):
                return
            if time.monotonic() >= end:
                break
    if not shown:
        echo("timed out without events", err=True)


def _wait(client: Client, seconds: float, since: str, limit: int, wanted: dict[str, str]) -> EventPage:
    return client.events.wait(since=since, timeout=seconds, limit=min(limit, 1000), **wanted)


@command.command(name="list")
@click.option("--topic", default="", help="Filter by topic.")
@click.option("--event-type", "--type", "event_type", default="", help="Filter by type.")
@click.option(
    "--filter", default="", help="Filter expression, such as issue_id:issue-123,status:success|status:partial"
)
@click.option("--correlation-id", default="", help="Filter by correlation id.")
@click.option("--limit", type=Integer(1, 1000), help="Maximum number to list.  [default: 100]")
@click.option("--since", default="", help="Start after this event id, time, or age such as 10m.")
@click.option("--before", default="", help="The newest before this event id, such as the first of what was listed.")
@click.option("--latest", is_flag=True, help="Only the newest event of each topic and state key.")
@project_option
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, since: str, form: str | None, output: Path | None, **wanted: Any) -> None:
    """List recent events, oldest first."""
    cursor, moment = since_of(since)
    page = client.events.list(since=cursor, since_time=moment, **wanted)
    events = [each.message for each in page.events]
    out.rows(events, COLUMNS, form, output, lambda: "\n".join(map(line, events)) or "no events")
    out.more(page.next_cursor, option="--since")


@command.command()
@click.argument("event_id")
@project_option
@out.formatted
@connected
def show(client: Client, event_id: str, project_id: str, form: str | None, output: Path | None) -> None:
    """Print an event."""
    event = client.events.get(event_id, project_id=project_id)
    out.message(event.message, form or "json", output, lambda: "")


@command.command()
@click.option("--topic", default="", help="Filter by topic.")
@click.option("--event-type", "--type", "event_type", default="", help="Filter by type.")
@click.option("--filter", default="", help="Filter expression, such as issue_id:issue-123.")
@click.option("--correlation-id", default="", help="Filter by correlation id.")
@click.option("--since", default="0", help="Start after this event id, time, or age such as 10m.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="How many times as fast as it happened; 0 for no pauses.",
)
@project_option
@out.formatted
@connected
def replay(client: Client, since: str, speed: float, form: str | None, output: Path | None, **wanted: str) -> None:
    """Print past events at the pace they happened."""
    _require_lines(form, output)
    cursor, moment = since_of(since)
    before: datetime | None = None
    for event in client.events.iterate(since=cursor, since_time=moment, **wanted):
        if before is not None and speed:
            time.sleep(max(0.0, (event.timestamp - before).total_seconds() / speed))
        before = event.timestamp
        _show(event.message, form)


@command.command()
@click.argument("correlation", metavar="CORRELATION_OR_EVENT_ID")
@project_option
@connected
def tree(client: Client, correlation: str, project_id: str) -> None:
    """Show which event caused which."""
    events = _related(client, correlation, project_id)
    if not events:
        raise click.ClickException(f"no retained event has the id or the correlation id '{correlation}'")
    known = {event.event_id for event in events}
    caused: dict[str, list[Event]] = {}
    for event in events:
        cause = event.causation_id if event.causation_id in known else ""
        caused.setdefault(cause, []).append(event)
    # By hand, because a chain may be longer than Python's stack.
    waiting = [(event, 0) for event in reversed(caused.get("", []))]
    while waiting:
        event, depth = waiting.pop()
        echo("  " * depth + line(event))
        waiting += [(each, depth + 1) for each in reversed(caused.get(event.event_id, []))]


def _related(client: Client, correlation: str, project_id: str) -> list[Event]:
    """Returns the events with a correlation id, oldest first; or with that of an event, and the event itself."""
    first = _event(client, correlation, project_id)
    if first is not None and first.correlation_id:
        correlation, first = first.correlation_id, _event(client, first.correlation_id, project_id)
    found = {first.event_id: first} if first is not None else {}
    for event in client.events.iterate(correlation_id=correlation, project_id=project_id):
        found[event.event_id] = event.message
    return list(found.values())


def _event(client: Client, event_id: str, project_id: str) -> Event | None:
    """Returns a retained event; None for any other text."""
    if not is_event_id(event_id):
        return None
    with suppress(NotFoundError):
        return client.events.get(event_id, project_id=project_id).message
    return None


def _cursor_before(event_id: str) -> str:
    epoch, _, number = event_id.rpartition("-")
    return f"{epoch}-{max(0, int(number) - 1):010d}"


def since_of(text: str) -> tuple[str, datetime | None]:
    """Parses a cursor, a time or an age; one of the two results is empty."""
    age = _AGE_PATTERN.fullmatch(text)
    if age:
        try:
            return "", datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        except OverflowError:
            raise click.UsageError(f"invalid --since '{text}': too long ago") from None
    if not text or text in ("0", "$") or text.startswith("evt-"):
        return text, None
    try:
        stamp = codec.parse_rfc3339(text, "--since")
    except SidecarError as problem:
        raise click.UsageError(f"{problem}, an event id, or an age such as 10m") from problem
    return "", stamp.ToDatetime(tzinfo=UTC)


def cursor_at(client: Client, moment: datetime | None, project_id: str) -> str:
    """Returns the cursor before the first event at or after a time, or after the newest event.

    Consecutive polls from this cursor miss no events.
    """
    if moment is not None:
        for event in client.events.list(since_time=moment, limit=1, project_id=project_id).events:
            return _cursor_before(event.event_id)
    newest = client.events.list(limit=1, project_id=project_id).events
    return newest[0].event_id if newest else "0"


def _require_lines(form: str | None, output: Path | None) -> None:
    if output is not None or form in ("table", "csv", "yaml"):
        raise click.UsageError("events are printed as they arrive; use --format text or json, and redirect the output")


def _show(event: Event, form: str | None) -> None:
    echo(codec.to_json(event).decode() if form == "json" else line(event))


def line(event: Event) -> str:
    head = (codec.rfc3339(event.timestamp), event.event_id, event.event_type, event.topic, event.publisher)
    return "  ".join((*head, codec.to_json(event.data).decode()))
