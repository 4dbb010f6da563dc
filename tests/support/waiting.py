"""Waiting for a condition, and looking for processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")


def until(condition: Callable[[], T], what: str = "", timeout: float = 20.0) -> T:
    """The condition's first true value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}")
        time.sleep(0.01)
    return value


def lives(pid: int) -> bool:
    """There is such a process, and it is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def pid_in(path: Path) -> int:
    """The pid that a process wrote into a file, when it has."""
    return until(lambda: int(path.read_text() or 0) if path.exists() else 0, f"a pid in {path.name}")
