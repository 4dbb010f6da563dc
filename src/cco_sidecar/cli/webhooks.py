"""`cco webhooks create|list|show|test|pause|resume|set-url|rotate-secret|delete`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Duration, Integer, Seconds
from cco_sidecar.cli.terminal import counted, echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from orchestra.v1.webhook_service_pb2 import CreateWebhookResponse, Webhook

_COLUMNS: out.Columns = {
    "name": lambda w: w.name,
    "url": lambda w: w.url,
    "paused": lambda w: "yes" if w.paused else "no",
    "succeeded": lambda w: str(w.status.succeeded),
    "failed": lambda w: str(w.status.failed),
    "in_flight": lambda w: str(w.status.in_flight_count),
    "dead_letters": lambda w: str(w.status.dead_letter_count),
}


@click.group(name="webhooks", cls=Group)
def command() -> None:
    """Post events to URLs.

    A webhook has a consumer of the same name: 'cco consumers dead-letters', 'replay' and 'reset' work on it.
    """


@command.command()
@click.argument("name")
@click.argument("url")
@click.option("--event-type", "--type", "event_types", multiple=True, help="Only this event type (repeatable).")
@click.option("--topic", "topics", multiple=True, help="Only this topic (repeatable).")
@click.option("--filter", "filter", default="", help="Filter expression, such as issue_id:issue-123.")
@click.option("--cloud-events", is_flag=True, help="Post CloudEvents 1.0.")
@click.option("--timeout", "timeout_seconds", type=Seconds(1, 60), help="Seconds it has to answer.  [default: 10]")
@click.option("--max-deliveries", type=Integer(1, 100), help="Attempts before it is a dead letter.  [default: 12]")
@click.option(
    "--retry",
    "retry_seconds",
    type=Duration(0, 3600),
    help="Seconds before it is retried.  [default: 5]",
)
@click.option("--in-order", is_flag=True, help="Post one event at a time, in order.")
@click.option("--since", default="", help="Event ID to begin after; 0 for the oldest.  [default: the next event]")
@project_option
@out.formatted
@connected
def create(
    client: Client, name: str, url: str, in_order: bool, form: str | None, output: Path | None, **options: Any
) -> None:
    """Create a webhook, and print the secret that its requests are signed with.

    The secret is shown only now. Hosts must be allowed by the setting events.webhook_hosts.
    """
    webhook, secret = client.webhooks.create(name, url, max_in_flight=1 if in_order else None, **options)
    made = CreateWebhookResponse(webhook=webhook, secret=secret)
    out.message(made, form, output, lambda: f"{webhook.name} posts to {webhook.url}\nsecret: {secret}")


@command.command(name="list")
@project_option
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, project_id: str, form: str | None, output: Path | None) -> None:
    """List webhooks by name."""
    found = list(client.webhooks.list(project_id=project_id))
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(map(_line, found)) or "no webhooks")


@command.command()
@click.argument("name")
@project_option
@out.formatted
@connected
def show(client: Client, name: str, project_id: str, form: str | None, output: Path | None) -> None:
    """Show a webhook, and how its deliveries go."""
    webhook = client.webhooks.get(name, project_id=project_id)
    out.message(webhook, form, output, lambda: _details(webhook))


@command.command()
@click.argument("name")
@project_option
@out.formatted
@connected
def test(client: Client, name: str, project_id: str, form: str | None, output: Path | None) -> None:
    """Post a test event once; exit with 1 if it is not accepted."""
    answer = client.webhooks.test(name, project_id=project_id)
    said = f"accepted with HTTP {answer.status}" if answer.accepted else f"not accepted: {answer.failure}"
    out.message(answer, form, output, lambda: f"{said} after {answer.duration_ms:.0f} ms")
    if not answer.accepted:
        raise click.exceptions.Exit(1)


@command.command()
@click.argument("name")
@project_option
@connected
def pause(client: Client, name: str, project_id: str) -> None:
    """Post nothing until the webhook is resumed; events are kept."""
    client.webhooks.update(name, paused=True, project_id=project_id)
    echo(f"paused {name}")


@command.command()
@click.argument("name")
@project_option
@connected
def resume(client: Client, name: str, project_id: str) -> None:
    """Start posting again, including events from the pause."""
    client.webhooks.update(name, paused=False, project_id=project_id)
    echo(f"resumed {name}")


@command.command(name="set-url")
@click.argument("name")
@click.argument("url")
@project_option
@connected
def set_url(client: Client, name: str, url: str, project_id: str) -> None:
    """Post to another URL from now on."""
    client.webhooks.update(name, url=url, project_id=project_id)
    echo(f"{name} posts to {url}")


@command.command(name="rotate-secret")
@click.argument("name")
@click.option(
    "--keep",
    "keep_seconds",
    type=Integer(0, 604_800),
    help="Seconds to keep signing with the old secret as well.  [default: 86400, a day]",
)
@project_option
@connected
def rotate_secret(client: Client, name: str, keep_seconds: int | None, project_id: str) -> None:
    """Make a new secret and print it."""
    echo(client.webhooks.rotate_secret(name, keep_seconds=keep_seconds, project_id=project_id))


@command.command()
@click.argument("name")
@project_option
@connected
def delete(client: Client, name: str, project_id: str) -> None:
    """Delete a webhook and its dead letters."""
    lost = client.webhooks.delete(name, project_id=project_id)
    echo(f"deleted {name}" + (f" and {counted(lost, 'dead letter')}" if lost else ""))


def _line(webhook: Webhook) -> str:
    status = webhook.status
    state = "  paused" if webhook.paused else ""
    return (
        f"{webhook.name}  {webhook.url}{state}  {status.succeeded} accepted, {status.failed} failed, "
        f"{status.in_flight_count} in delivery, {counted(status.dead_letter_count, 'dead letter')}"
    )


def _details(webhook: Webhook) -> str:
    status = webhook.status
    lines = [_line(webhook)]
    if webhook.paused_reason:
        lines.append(f"paused: {webhook.paused_reason}")
    if status.HasField("last_success_at"):
        lines.append(f"last accepted {codec.rfc3339(status.last_success_at)}")
    if status.HasField("last_failure_at"):
        lines.append(f"last failure {codec.rfc3339(status.last_failure_at)}: {status.last_failure}")
    return "\n".join(lines)
