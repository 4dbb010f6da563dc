"""What tools return: JSON, as REST shows it."""

from __future__ import annotations

from typing import Any

import orjson
from google.protobuf.message import Message

from cco_sidecar.core import codec


def shown(value: Any) -> str:
    """Returns a JSON value as text."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def message(found: Message) -> str:
    """Returns a message as text."""
    return shown(codec.to_dict(found))


def words(text: str) -> list[str]:
    """Returns what commas separate."""
    return [word.strip() for word in text.split(",") if word.strip()]
