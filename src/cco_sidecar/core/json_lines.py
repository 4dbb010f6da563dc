"""Lines of JSON that programs print, as tolerant as their writers are careless."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

# An escape of a pair of surrogates, of half of one, or anything else behind a backslash.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def object_of(line: str) -> Mapping[str, Any] | None:
    """Returns the JSON object in a line; None if there is none. Half of a surrogate pair, as a text that was cut has
    it, becomes U+FFFD."""
    if not line.startswith("{"):
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        if not _HALF.search(line):
            return None
        try:
            value = orjson.loads(_ESCAPE.sub(lambda found: r"\ufffd" if found[1] else found[0], line))
        except orjson.JSONDecodeError:
            return None
    return value if isinstance(value, dict) else None
