"""A disk that a test can fill."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path

MEGABYTE = 2**20


class Disk:
    """``path`` is a small separate file system if this user may mount one. Otherwise the disk is full for one process
    only, which cannot extend any file.
    """

    def __init__(self, path: Path, megabytes: int = 256) -> None:
        self.path = path
        path.mkdir()
        options = f"size={megabytes}m,mode=700"
        command = ["mount", "-t", "tmpfs", "-o", options, "chaos", str(path)]
        try:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            self.mounted = False
        self._filler = path / "filler"
        self._limited = 0
        self.full = False

    def fill(self, pid: int) -> None:
        """Makes every further write fail; on a shared disk, for process ``pid`` only."""
        self.full = True
        if not self.mounted:
            self._limited = pid
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with self._filler.open("ab") as file:
            for step in (16 * MEGABYTE, MEGABYTE, 4096):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), file.tell(), step)
                        file.seek(step, os.SEEK_CUR)
                except OSError:
                    continue

    def free(self) -> None:
        self.full = False
        if self.mounted:
            self._filler.unlink(missing_ok=True)
        elif self._limited:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._limited, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            self._limited = 0

    def close(self) -> None:
        self.free()
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
