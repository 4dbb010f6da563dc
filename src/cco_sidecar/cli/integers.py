"""Integer options whose errors say what is expected."""

from __future__ import annotations

import click


class Integer(click.IntRange):
    """A whole number in a range. click's own calls its type "integer range" in messages."""

    name = "integer"
