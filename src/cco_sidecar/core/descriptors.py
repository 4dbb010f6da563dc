"""How many files and connections this process may have open (getrlimit(2))."""

from __future__ import annotations

import resource

_ENOUGH = 65_536
_original: tuple[int, int] | None = None


def raise_limit() -> None:
    """To what the system allows; agents get the former limit."""
    global _original
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _original = _original or (soft, hard)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def soft_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def original_soft_limit() -> int:
    """That with which the process was started: programs that close all descriptors, or use select(2), expect it."""
    return _original[0] if _original else soft_limit()
