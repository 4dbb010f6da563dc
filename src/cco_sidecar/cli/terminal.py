"""What is printed to a terminal: nothing that somebody else wrote may command it."""

from __future__ import annotations

import sys
from typing import Any

import click

# Joiners, without which some scripts and pictographs are not written right (Unicode, section 23.2).
_JOINERS = "\u200c\u200d"


def visible(text: str, *, keep: str = "\n\t") -> str:
    """The text with control, escape and bidirectional characters written out, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or char in _JOINERS or char.isprintable() else _written(char) for char in text)


def one_line(text: str) -> str:
    """The same on one line: blanks for its line ends."""
    return visible(" ".join(text.replace("\t", " ").split("\n")), keep="")


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Prints a text: visibly on a terminal, exactly as it is into a pipe or a file."""
    stream = sys.stderr if err else sys.stdout
    # With colour, or click takes out of a pipe what looks like it.
    click.echo(visible(text) if _is_terminal(stream) else text, err=err, nl=nl, color=True)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _written(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
