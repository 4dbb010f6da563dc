"""Numbers as options: their errors say what is expected, and they take the usual units."""

from __future__ import annotations

import re
from typing import Any

import click

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:(k|M)(i?)B?)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


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


class Seconds(Integer):
    """Whole seconds: ``90``, ``10m``, ``1h``, ``7d``."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = _in_seconds(self, value, param, ctx)
        if seconds != int(seconds):
            self.fail(f"{value!r} is not a whole number of seconds.", param, ctx)
        return super().convert(int(seconds), param, ctx)


class Duration(click.FloatRange):
    """Seconds: ``0.5``, ``90``, ``10m``, ``1h``, ``7d``."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(_in_seconds(self, value, param, ctx), param, ctx)


def _in_seconds(
    kind: click.ParamType[Any], value: Any, param: click.Parameter | None, ctx: click.Context | None
) -> float:
    if not isinstance(value, str):
        return float(value)
    match = _DURATION.fullmatch(value)
    if match is None:
        kind.fail(f"{value!r} is not a time; write seconds such as 90, or 90s, 10m, 1h or 7d.", param, ctx)
    return round(float(match[1]) * _SECONDS[match[2]], 6)
