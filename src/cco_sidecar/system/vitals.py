"""Measured figures of the process and its storage."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import psutil

_MEGABYTE = 1024 * 1024
_LOOK_AGAIN_SECONDS = 5.0


class Vitals:
    def __init__(self, storage: Path) -> None:
        self._storage = storage
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._started = time.monotonic()
        self._size: tuple[float, float] = (-_LOOK_AGAIN_SECONDS, 0.0)

    @property
    def uptime_seconds(self) -> int:
        return int(time.monotonic() - self._started)

    def memory_mb(self) -> float:
        return round(self._process.memory_info().rss / _MEGABYTE, 1)

    def cpu_percent(self) -> float:
        """Of one core, since the last call."""
        return self._process.cpu_percent()

    def disk_free_mb(self) -> float:
        """0 when the storage is gone."""
        try:
            return round(shutil.disk_usage(self._storage).free / _MEGABYTE, 1)
        except OSError:
            return 0.0

    def storage_writable(self) -> bool:
        return os.access(self._storage, os.W_OK | os.X_OK)

    async def storage_mb(self) -> float:
        """Size of the storage directory; walked at most every five seconds, off the event loop."""
        if time.monotonic() - self._size[0] > _LOOK_AGAIN_SECONDS:
            size = await asyncio.to_thread(_tree_bytes, self._storage)
            self._size = (time.monotonic(), round(size / _MEGABYTE, 3))
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
