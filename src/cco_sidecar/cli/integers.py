"""Integer options whose errors say what is expected."""

from __future__ import annotations

import re
from typing import Any

import click

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:(k|M)(i?)B?)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2}


class Integer(click.IntRange):
    """A whole number in a range. click's own calls its type "integer range" in messages."""

    name = "integer"


class Size(Integer):
    """A number of bytes or tokens: ``128000``, ``128k``, ``0.5M``, ``64KiB``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None and isinstance(value, str):
            self.fail(f"{value!r} is not a size; write a number, or one with k (1,000) or M, such as 128k.", param, ctx)
        if match is not None:
            base = 1024 if match[3] else 1000
            value = int(float(match[1]) * base ** _POWERS[(match[2] or "").lower()])
        return super().convert(value, param, ctx)
