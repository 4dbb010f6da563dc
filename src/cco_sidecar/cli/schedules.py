"""`cco schedules create|list|delete`."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Duration
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError
from orchestra.v1.schedule_service_pb2 import Schedule

_COLUMNS: out.Columns = {
    "schedule_id": lambda s: s.schedule_id,
    "next_at": lambda s: codec.rfc3339(s.next_at),
    "cron": lambda s: s.cron,
    "event_type": lambda s: s.event.event_type,
    "topic": lambda s: s.event.topic,
    "created_by": lambda s: s.created_by,
}


@click.group(name="schedules", cls=Group)
def command() -> None:
    """Publish events later: once, or periodically."""


@command.command()
@click.option("--event-type", "--type", "event_type", required=True, help="Event type, such as review_due.")
@click.option("--topic", default="", help="Topic.  [default: coordination]")
@click.option("--data", help="Event data, as a JSON object.")
@click.option("--at", help="Time to publish it at, such as 2026-12-01T09:00:00+01:00.")
@click.option("--after", "after_seconds", type=Duration(min=0), help="Seconds (or 1h) until it is published.")
@click.option("--cron", default="", help="Cron expression, such as '0 9 * * mon-fri'.")
@click.option("--timezone", default="", help="Time zone of --cron.  [default: UTC]")
@click.option("--id", "schedule_id", default="", help="ID; an existing schedule with it is replaced.")
@project_option
@out.formatted
@connected
def create(
    client: Client,
    event_type: str,
    data: str | None,
    at: str | None,
    form: str | None,
    output: Path | None,
    **options: str,
) -> None:
    """Publish an event at a time, after some seconds, or by a cron expression."""
    body = out.parse_object(data, "--data") if data else {}
    made = client.schedules.create(event_type, body, at=_moment(at), **options)  # type: ignore[arg-type]
    out.message(made, form, output, lambda: _line(made))


@command.command(name="list")
@project_option
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, project_id: str, form: str | None, output: Path | None) -> None:
    """List schedules, soonest first."""
    found = list(client.schedules.list(project_id=project_id))
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(map(_line, found)) or "no schedules")


@command.command()
@click.argument("schedule_id")
@project_option
@connected
def delete(client: Client, schedule_id: str, project_id: str) -> None:
    """Delete a schedule."""
    client.schedules.delete(schedule_id, project_id=project_id)
    echo(f"deleted {schedule_id}")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return codec.parse_rfc3339(text, "--at").ToDatetime(tzinfo=UTC)
    except SidecarError as problem:
        raise click.UsageError(str(problem)) from None


def _line(schedule: Schedule) -> str:
    zone = f" ({schedule.timezone})" if schedule.timezone else ""
    again = f", repeats '{schedule.cron}'{zone}" if schedule.cron else ""
    return f"{schedule.schedule_id}  {schedule.event.event_type}  at {codec.rfc3339(schedule.next_at)}{again}"
