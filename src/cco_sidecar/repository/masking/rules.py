"""The key formats of ``rules.toml``."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """One format.

    ``keywords`` are in lower case. ``entropy`` is in bits per character; ``digits`` and ``uppercase``: the secret must
    contain some. ``search``: the keyword may stand anywhere near the match, not only at its start. ``closed``: no
    letter or digit may stand directly before the keyword.
    """

    id: str
    keywords: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    entropy: float
    digits: bool
    uppercase: bool
    search: bool
    closed: bool


@cache
def rules() -> tuple[Rule, ...]:
    """Returns all rules, in the order of the file."""
    text = resources.files(__package__).joinpath("rules.toml").read_text("utf-8")
    return tuple(_rule(entry) for entry in tomllib.loads(text)["rule"])


def _rule(entry: dict[str, Any]) -> Rule:
    pattern: str = entry["pattern"]
    search, is_open = entry.get("search", False), entry.get("open", False)
    if pattern.startswith("(?i)"):
        # Flags in the middle of an expression are an error.
        pattern = f"(?i:{pattern[4:]})"
    if not is_open:
        pattern = rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])"
    return Rule(
        id=entry["id"],
        keywords=tuple(word.encode() for word in entry["keywords"]),
        pattern=re.compile(pattern.encode()),
        entropy=entry.get("entropy", 0.0),
        digits=entry.get("digits", False),
        uppercase=entry.get("uppercase", False),
        search=search,
        closed=not search and not is_open,
    )
