"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(given: str, known: Iterable[str]) -> str | None:
    """Returns the known name that was probably meant, if there is one."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Returns the end of an error message that suggests a name; empty if none is close."""
    near = nearest(given, known)
    return f"; did you mean '{near}'?" if near else ""
