"""`cco completion`: shell completion scripts."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cco_sidecar.cli.terminal import echo


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell. Load it with: eval "$(cco completion bash)"."""
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"completion script for {shell} not found")
    echo(found(ctx.find_root().command, {}, "cco", "_CCO_COMPLETE").source())
