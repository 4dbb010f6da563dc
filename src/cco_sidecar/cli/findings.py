"""What a check of `cco doctor` says."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


class Finding(NamedTuple):
    """The outcome of a check. ``fix`` is empty if the level is OK."""

    name: str
    level: Level
    text: str
    fix: str = ""
