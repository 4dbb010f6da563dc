"""Command groups whose help is not truncated, with suggestions for mistyped commands."""

from __future__ import annotations

import difflib
from typing import Any

import click


class Group(click.Group):
    """Wraps the summaries of commands, which click truncates to one line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, _summary(command)))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"list commands with '{ctx.command_path} --help'"
            ctx.fail(f"command '{args[0]}' not found; {hint}")
        return super().resolve_command(ctx, args)


def _summary(command: click.Command) -> str:
    text = " ".join((command.short_help or command.help or "").split("\n\n")[0].split())
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]
