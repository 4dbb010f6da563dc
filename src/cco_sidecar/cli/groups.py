"""Command groups whose help is not truncated, with suggestions for mistyped commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from cco_sidecar.core.suggestions import nearest

# What other tools call a command.
_SYNONYMS = {
    "ls": ("list", "query"),
    "list": ("query",),
    "ps": ("list",),
    "get": ("show", "info"),
    "show": ("info",),
    "status": ("show",),
    "start": ("new", "spawn"),
    "logs": ("events",),
    "rm": ("delete", "forget", "stop"),
    "delete": ("forget", "stop"),
    "tail": ("logs", "events"),
}


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
            ctx.fail(f"command '{args[0]}' not found; {self._hint(ctx, args[0])}")
        return super().resolve_command(ctx, args)

    def _hint(self, ctx: click.Context, given: str) -> str:
        """Suggests a command of this group, or one of that name in a group below it."""
        known = self.list_commands(ctx)
        # First the name itself in a group below, then each name that it may stand for, here or below.
        for name in (given, *_SYNONYMS.get(given, ())):
            if name in known:
                return f"did you mean '{name}'?"
            below = [f"'{group} {name}'" for group in known if name in _names(self.get_command(ctx, group))]
            if below:
                return f"did you mean {' or '.join(below)}?"
        near = next((each for each in known if each.startswith(f"{given}-")), None) or nearest(given, known)
        return f"did you mean '{near}'?" if near else f"list commands with '{ctx.command_path} --help'"


def _names(command: click.Command | None) -> Iterator[str]:
    """Yields the commands of a group that help shows."""
    if isinstance(command, click.Group):
        yield from (name for name, each in command.commands.items() if not each.hidden)


def _summary(command: click.Command) -> str:
    text = " ".join((command.short_help or command.help or "").split("\n\n")[0].split())
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]
