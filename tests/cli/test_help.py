"""The help of every command: complete, and answered in the command's own process."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from cco_sidecar.cli.main import cco


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


COMMANDS = dict(commands(cco))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_described(path: str) -> None:
    command = COMMANDS[path]
    assert command.get_short_help_str(), "the command itself"
    missing = [
        option.opts[0]
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not (option.help or "").strip()
    ]
    assert not missing


@pytest.mark.parametrize("path", COMMANDS)
def test_there_is_no_markdown(path: str) -> None:
    shown = COMMANDS[path].get_help(click.Context(COMMANDS[path]))
    assert "`" not in shown and "](" not in shown


@pytest.mark.parametrize("path", [path for path, each in COMMANDS.items() if not isinstance(each, click.Group)])
def test_data_commands_agree_on_their_options(path: str) -> None:
    """One flag has one meaning: --format names the format, --output the file, everywhere."""
    options = {name: option for option in COMMANDS[path].params for name in option.opts}
    if "--output" in options:
        assert isinstance(options["--output"].type, click.Path), "--output is a file"
    if "--format" in options:
        kind = options["--format"].type
        assert isinstance(kind, click.Choice) and {"json", "yaml"} <= set(kind.choices)
