"""Identifiers."""

from __future__ import annotations

import random
import re
import secrets
import time
import uuid

# The shape of FORMAT_ID in orchestra/v1/options.proto.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}"
_random = random.Random()
_ID = re.compile(ID_PATTERN)


def is_id(text: str) -> bool:
    """Reports whether a name is safe as a path segment, in URLs and on disk."""
    return _ID.fullmatch(text) is not None


def sortable(prefix: str) -> str:
    """Returns ``<prefix>-<12 hex digits of milliseconds><16 random hex digits>``, which sorts by time."""
    return f"{prefix}-{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def milliseconds_of(sortable_id: str) -> int:
    """Returns when a sortable ID was made, in Unix milliseconds; 0 for an ID of another form."""
    digits = sortable_id.rpartition("-")[2][:12]
    try:
        return int(digits, 16)
    except ValueError:
        return 0


def request_id() -> str:
    """Returns an id to find a call in the logs. It is unlikely to repeat, but not secret."""
    return f"req-{_random.getrandbits(64):016x}"


def agent_id(agent_type: str) -> str:
    return f"{agent_type}-{uuid.uuid4()}"
