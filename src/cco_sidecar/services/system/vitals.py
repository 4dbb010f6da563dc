"""Measures the process and its storage."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import psutil

_WALK_AGAIN_SECONDS = 5.0
# One measurement takes about a dozen system calls.
_LOOK_AGAIN_SECONDS = 1.0


class Figures(NamedTuple):
    """Sizes are in bytes. ``cpu_percent``: of one core, since the previous measurement; ``disk_free``: 0 if the storage
    is gone."""

    memory: int
    cpu_percent: float
    disk_free: int


class Vitals:
    """Measures memory, CPU and disk. Not thread-safe."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._started = time.monotonic()
        self._size: tuple[float, int] = (-math.inf, 0)
        self._looked = -math.inf
        self._figures = Figures(0, 0.0, 0)

    @property
    def uptime_seconds(self) -> int:
        """Seconds since the process started to measure."""
        return int(time.monotonic() - self._started)

    def figures(self) -> Figures:
        """Returns the figures, measured at most once a second."""
        if time.monotonic() - self._looked > _LOOK_AGAIN_SECONDS:
            self._figures = self._look()
            self._looked = time.monotonic()
        return self._figures

    def _look(self) -> Figures:
        try:
            free = shutil.disk_usage(self._storage).free
        except OSError:
            free = 0
        return Figures(self._process.memory_info().rss, self._process.cpu_percent(), free)

    def storage_writable(self) -> bool:
        """Whether the storage directory can be written to."""
        return os.access(self._storage, os.W_OK | os.X_OK)

    async def storage_bytes(self) -> int:
        """Returns the size of the storage directory. Measured at most every five seconds, off the event loop."""
        if time.monotonic() - self._size[0] > _WALK_AGAIN_SECONDS:
            self._size = (time.monotonic(), await asyncio.to_thread(_tree_bytes, self._storage))
        return self._size[1]


def _tree_bytes(directory: Path) -> int:
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total
