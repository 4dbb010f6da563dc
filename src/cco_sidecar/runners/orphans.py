"""Processes that lost their parent and became children of this one, as process 1 of a container or as a subreaper."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil


class Orphans:
    """Reaps zombies that nobody waits for. Whoever started a process waits for it within moments."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, float]] = set()

    def reap(self) -> int:
        """Reaps the zombies that were already there at the last call, and returns how many. Blocks shortly."""
        zombies = set(_zombies())
        waiting = zombies & self._seen
        for pid, _ in waiting:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = zombies - waiting
        return len(waiting)


def _zombies() -> list[tuple[int, float]]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append((child.pid, child.create_time()))
    return found
