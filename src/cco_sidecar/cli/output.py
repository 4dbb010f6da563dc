"""Output formats: text, table, JSON, YAML and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
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

try:
    # Forty times faster.
    from yaml import CSafeDumper as SafeDumper
except ImportError:
    # PyYAML was built without libyaml.
    from yaml import SafeDumper  # type: ignore[assignment]

_STDOUT = Path("-")
FORMATS = ("text", "table", "json", "yaml", "csv")
# Column names, with the function that reads each from a row.
Columns = dict[str, Callable[[Any], str]]


def _check_writable(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Checks the output file before the call, so that no response is lost. Raises ClickException."""
    if (
        path is not None
        and path != _STDOUT
        and not os.access(path if path.exists() else path.absolute().parent, os.W_OK)
    ):
        reason = "Permission denied" if path.absolute().parent.is_dir() else "No such file or directory"
        raise click.ClickException(f"cannot write {path}: {reason}")
    return path


def report_format(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--format`` to a command that reports on this machine; the command gets ``form``."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json", "yaml"]),
        default="text",
        show_default=True,
        help="Output format.",
    )(command)


def formatted(
    command: Callable[..., Any], *, lists: bool = False, more: Sequence[str] = (), default: str = "text"
) -> Callable[..., Any]:
    """Adds ``--format`` and ``--output``. Only commands with ``lists`` support CSV; ``more``: the command's own
    formats, which it prints with ``write``."""
    command = click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_check_writable,
        help="Write to a file instead of stdout; JSON by default.",
    )(command)
    return click.option(
        "--format",
        "form",
        type=click.Choice([*(FORMATS if lists else FORMATS[:-1]), *more]),
        help=f"Output format.  [default: {default}]",
    )(command)


def console(*, stderr: bool = False) -> Console:
    """Returns a console with colors on a terminal, unless disabled by ``--no-color`` or ``NO_COLOR``."""
    chosen = click.get_current_context().find_root().obj
    plain = chosen["no_color"] or "NO_COLOR" in os.environ
    colors: Any = None if plain else "auto"
    return Console(stderr=stderr, color_system=colors, highlight=False, soft_wrap=True, emoji=False)


def waiting(text: str) -> AbstractContextManager[Any]:
    """Shows a spinner on stderr, if it is a terminal."""
    screen = console(stderr=True)
    return screen.status(text) if screen.is_terminal else nullcontext()


def message(answer: Message, form: str | None, output: Path | None, text: Callable[[], str]) -> None:
    """Prints a single message; ``text`` returns its text form."""
    if form in (None, "text", "table") and not (output and form is None):
        write(text(), output)
    else:
        write(encoded(codec.to_dict(answer), form), output)


def rows(
    items: Sequence[Message], columns: Columns, form: str | None, output: Path | None, text: Callable[[], str]
) -> None:
    """Prints a list of messages; ``text`` returns its text form."""
    if form == "table":
        write(_table(items, columns, plain=output is not None), output, styled=True)
    elif form == "csv":
        write(_csv(items, columns), output)
    elif form in ("json", "yaml") or (form is None and output is not None):
        write(encoded([codec.to_dict(item) for item in items], form), output)
    else:
        write(text(), output)


def more(cursor: str, *, option: str = "--cursor") -> None:
    """Prints on stderr how to get the next page, if there is one."""
    if cursor:
        echo(f"next page: {option} {cursor}", err=True)


def encoded(value: Any, form: str | None) -> str:
    """Returns plain data as JSON, or as YAML if ``form`` says so."""
    if form == "yaml":
        return yaml.dump(value, Dumper=_Yaml, sort_keys=False, allow_unicode=True).rstrip("\n")
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


class _Yaml(SafeDumper):
    """Quotes strings that YAML 1.2 reads as numbers, too; PyYAML knows YAML 1.1 only."""


_NUMBER = re.compile(r"[-+]?(0o[0-7]+|0x[0-9a-fA-F]+|(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)")


def _represent_text(dumper: SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _NUMBER.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Yaml.add_representer(str, _represent_text)


def _table(items: Sequence[Message], columns: Columns, *, plain: bool) -> str:
    table = Table(*columns, header_style="bold", box=None, pad_edge=False)
    for item in items:
        # Text, not str: square brackets are not markup.
        table.add_row(*(Text(one_line(read(item))) for read in columns.values()))
    screen = console()
    if plain or not screen.is_terminal:
        # Do not truncate values in files and pipes.
        screen = Console(color_system=None, width=10_000)
    with screen.capture() as captured:
        screen.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _csv(items: Sequence[Message], columns: Columns) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([read(item) for read in columns.values()] for item in items)
    return out.getvalue().rstrip("\n")


def write(text: str, output: Path | None, *, styled: bool = False) -> None:
    """Prints a text, or writes it to a file."""
    if output is None or output == _STDOUT:
        echo(text, styled=styled)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as problem:
        raise click.ClickException(f"cannot write {output}: {problem.strerror}") from problem
    echo(f"wrote {output}", err=True)


def require_new(path: Path, *, force: bool) -> None:
    """Raises ClickException if the file exists and is not to be overwritten."""
    if path.exists() and not force:
        raise click.ClickException(f"{path} exists; choose another file, or overwrite it with --force")


def confirm(question: str) -> None:
    """Asks for confirmation. Raises Abort if declined, ClickException if stdin is not a terminal and has no answer."""
    try:
        yes = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        echo(err=True)
        raise click.ClickException("cannot prompt for confirmation; pass --yes to skip it") from None
    if not yes:
        raise click.Abort


def read_secret() -> str:
    """Reads a secret from stdin, or prompts for it on a terminal. Raises ClickException."""
    if sys.stdin.isatty():
        return str(click.prompt("value", hide_input=True, err=True))
    try:
        return sys.stdin.buffer.read().decode().rstrip("\r\n")
    except UnicodeDecodeError as problem:
        raise click.ClickException("stdin is not UTF-8; encode the value, for example with base64") from problem


def read_json(path: str) -> Any:
    """Reads a JSON file, or stdin for ``-``. Raises ClickException."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return orjson.loads(data.removeprefix(codecs.BOM_UTF8))
    except OSError as problem:
        raise click.ClickException(f"cannot read {path}: {problem.strerror}") from problem
    except orjson.JSONDecodeError as problem:
        raise click.ClickException(
            f"invalid JSON in {path}: {problem.msg} at line {problem.lineno}, column {problem.colno}"
        ) from problem


def parse_object(text: str, what: str) -> dict[str, Any]:
    """Parses the JSON object of an option. Raises UsageError."""
    value = parse_json(text, what)
    if not isinstance(value, dict):
        raise click.UsageError(f'{what} must be a JSON object, such as \'{{"issue_id": "issue-123"}}\'')
    return value


def parse_json(text: str, option: str) -> Any:
    """Parses the JSON value of an option. Raises UsageError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise click.UsageError(
            f"invalid JSON in {option}: {problem.msg} at column {problem.colno}: {text}"
        ) from problem
