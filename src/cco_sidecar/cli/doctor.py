"""`cco doctor`."""

from __future__ import annotations

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.checks import findings
from cco_sidecar.cli.connect import settings_of_sidecar
from cco_sidecar.cli.findings import Level
from cco_sidecar.cli.terminal import echo, visible

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.BROKEN: "red"}


@click.command(name="doctor")
@out.report_format
@click.pass_context
def command(ctx: click.Context, form: str) -> None:
    """Check the setup for problems and suggest fixes; exit 1 if anything is broken."""
    found = list(findings(settings_of_sidecar(ctx)))
    if form != "text":
        value = [finding._asdict() | {"level": finding.level.value} for finding in found]
        echo(out.encoded(value, form))
    else:
        screen = out.console()
        for finding in found:
            colour = _COLOURS[finding.level]
            screen.print(f"[{colour}]{finding.level.value:<8}[/{colour}] {finding.name}: ", end="")
            screen.print(visible(finding.text), markup=False)
            if finding.fix:
                screen.print(f"         fix: {finding.fix}", markup=False)
    if any(finding.level is Level.BROKEN for finding in found):
        raise click.exceptions.Exit(1)
