"""The limit on open files and connections of this process (getrlimit(2))."""

from __future__ import annotations

import resource

_ENOUGH = 65_536
_original: tuple[int, int] | None = None


def raise_limit() -> None:
    """Raises the soft limit, up to 65,536. Agents are started with the original limit."""
    global _original
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _original = _original or (soft, hard)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def soft_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def original_soft_limit() -> int:
    """Returns the limit at process start. Programs that use select(2) or close all descriptors rely on it."""
    return _original[0] if _original else soft_limit()
