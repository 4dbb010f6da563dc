"""What a person or a program reads: text, tables, JSON, YAML, CSV."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
import orjson
import yaml
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cco_sidecar.cli.terminal import echo, one_line
from cco_sidecar.core import codec

FORMATS = ("text", "table", "json", "yaml", "csv")
# Names of columns and how each is read from a row.
Columns = dict[str, Callable[[Any], str]]


def _writable(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Known before the call is made: its answer is not lost then."""
    if path is not None and not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        reason = "Permission denied" if path.absolute().parent.is_dir() else "No such file or directory"
        raise click.ClickException(f"{path} cannot be written: {reason}")
    return path


def formatted(command: Callable[..., Any], *, lists: bool = False) -> Callable[..., Any]:
    """Adds ``--format`` and ``--output``. What shows no list has no CSV."""
    command = click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_writable,
        help="Write to a file instead of the screen.",
    )(command)
    return click.option(
        "--format", "form", type=click.Choice(FORMATS if lists else FORMATS[:-1]), help="[default: text]"
    )(command)


def console(*, stderr: bool = False) -> Console:
    """Colours on a terminal, plain when piped."""
    chosen = click.get_current_context().find_root().obj
    plain = chosen["no_color"] or "NO_COLOR" in os.environ
    return Console(stderr=stderr, no_color=plain, highlight=False, soft_wrap=True, emoji=False)


def waiting(text: str) -> AbstractContextManager[Any]:
    """A sign of life on stderr while something takes its time; nothing when nobody looks."""
    screen = console(stderr=True)
    return screen.status(text) if screen.is_terminal else nullcontext()


def message(answer: Message, form: str | None, output: Path | None, text: Callable[[], str]) -> None:
    """One answer; ``text`` makes its readable form."""
    if form in (None, "text", "table") and not (output and form is None):
        _write(text(), output)
    else:
        _write(_encoded(codec.to_dict(answer), form), output)


def rows(
    items: Sequence[Message], columns: Columns, form: str | None, output: Path | None, text: Callable[[], str]
) -> None:
    """A list of answers; ``text`` makes its readable form."""
    if form == "table":
        _write(_table(items, columns, plain=output is not None), output)
    elif form == "csv":
        _write(_csv(items, columns), output)
    elif form in ("json", "yaml") or (form is None and output is not None):
        _write(_encoded([codec.to_dict(item) for item in items], form), output)
    else:
        _write(text(), output)


def more(cursor: str, *, option: str = "--cursor") -> None:
    """Says on stderr that a list goes on."""
    if cursor:
        echo(f"there are more: {option} {cursor}", err=True)


def _encoded(value: Any, form: str | None) -> str:
    if form == "yaml":
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n")
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _table(items: Sequence[Message], columns: Columns, *, plain: bool) -> str:
    table = Table(*columns, header_style="bold", box=None, pad_edge=False)
    for item in items:
        # As Text: square brackets are no markup.
        table.add_row(*(Text(one_line(read(item))) for read in columns.values()))
    screen = console()
    if plain or not screen.is_terminal:
        # Whoever reads a file or a pipe wants whole values, however wide.
        screen = Console(no_color=True, width=10_000)
    with screen.capture() as captured:
        screen.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _csv(items: Sequence[Message], columns: Columns) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([read(item) for read in columns.values()] for item in items)
    return out.getvalue().rstrip("\n")


def _write(text: str, output: Path | None) -> None:
    if output is None:
        echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as problem:
        raise click.ClickException(f"{output} cannot be written: {problem.strerror}") from problem
    echo(f"written to {output}", err=True)


def confirm(question: str) -> None:
    """Asks a person. Raises Abort for no, and ClickException where nobody can answer."""
    try:
        yes = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        echo(err=True)
        raise click.ClickException("nobody is there to answer; --yes does it without asking") from None
    if not yes:
        raise click.Abort


def read_secret() -> str:
    """A secret that is asked for, or read from a pipe."""
    if sys.stdin.isatty():
        return str(click.prompt("value", hide_input=True, err=True))
    try:
        return sys.stdin.buffer.read().decode().rstrip("\n")
    except UnicodeDecodeError as problem:
        raise click.ClickException(
            "what comes through the pipe is not UTF-8; encode it, for example with base64"
        ) from problem


def read_json(path: str) -> Any:
    """A JSON file, or stdin for ``-``."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return orjson.loads(data)
    except OSError as problem:
        raise click.ClickException(f"{path} cannot be read: {problem.strerror}") from problem
    except orjson.JSONDecodeError as problem:
        raise click.ClickException(
            f"{path} is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}"
        ) from problem


def parse_json(text: str, option: str) -> Any:
    """An option's JSON value."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise click.UsageError(f"{option} is not JSON: {problem.msg} at column {problem.colno}: {text}") from problem
