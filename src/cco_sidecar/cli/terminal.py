"""Terminal output, with control characters of untrusted text escaped."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

# Joiners that some scripts and emoji need (Unicode, section 23.2).
_JOINERS = "\u200c\u200d"


def visible(text: str, *, keep: str = "\n\t") -> str:
    """Returns the text with control, escape and bidirectional characters escaped, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or char in _JOINERS or char.isprintable() else _written(char) for char in text)


def one_line(text: str) -> str:
    """Returns the escaped text on one line, with spaces for tabs and line breaks."""
    return visible(" ".join(text.replace("\t", " ").split("\n")), keep="")


def counted(number: int, one: str, several: str = "") -> str:
    """Returns ``1 file`` or ``2 files``."""
    return f"{number} {one}" if number == 1 else f"{number} {several or one + 's'}"


def echo(text: str = "", *, err: bool = False, nl: bool = True, styled: bool = False) -> None:
    """Prints text: escaped on a terminal, unchanged in a pipe or file. ``styled``: the text is escaped already, and has
    styles of our own."""
    stream = sys.stderr if err else sys.stdout
    try:
        # Without color=True, click removes ANSI sequences from piped text.
        click.echo(visible(text) if _is_terminal(stream) and not styled else text, err=err, nl=nl, color=True)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain when it flushes the stream at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise click.exceptions.Exit(0) from None


def prepare() -> None:
    """Lets any text be printed: what the encoding of a stream does not have is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _written(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
