"""`cco health`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from orchestra.v1.system_service_pb2 import HEALTH_STATUS_UNHEALTHY, HealthStatus


@click.command(name="health")
@out.formatted
@partial(connected, anonymous=True)
def command(client: Client, form: str | None, output: Path | None) -> None:
    """Show the sidecar's health; exit 1 if it is unhealthy."""
    answer = client.health()

    def text() -> str:
        state = codec.enum_name(HealthStatus.DESCRIPTOR, answer.status)
        lines = [f"{answer.service} {answer.version}: {state}, up {int(answer.uptime_seconds)} s"]
        checks = codec.to_dict(answer.checks)
        return "\n".join(lines + [f"  {name}: {value}" for name, value in checks.items()])

    out.message(answer, form, output, text)
    if answer.status == HEALTH_STATUS_UNHEALTHY:
        raise click.exceptions.Exit(1)
