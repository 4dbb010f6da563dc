"""Until when the processes of agents may run: the others count on it that they have ended when a sidecar is lost.

The shims read the file. So agents also end when the sidecar was killed, hangs, or does not reach the database.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

log = logging.getLogger(__name__)

FILE = "lease"
# What a shim may need to notice, and its agent to end.
_MARGIN_SECONDS = 8.0


class LeaseFile:
    """A time of CLOCK_BOOTTIME, in seconds, which is the same for all processes of a machine."""

    def __init__(self, storage: Path, lost_after_seconds: float) -> None:
        self._path = storage / FILE
        self._fresh = storage / f"{FILE}.tmp"
        self._seconds = lost_after_seconds - _MARGIN_SECONDS

    def renew(self, began: float) -> None:
        """Extends the lease. ``began``: the monotonic time just before the others were given a sign of life."""
        until = time.clock_gettime(time.CLOCK_BOOTTIME) - (time.monotonic() - began) + self._seconds
        try:
            # Not synced: it concerns the processes of this boot only.
            self._fresh.write_text(f"{until:.3f}\n")
            self._fresh.replace(self._path)
        except OSError as problem:
            log.warning("cannot renew the lease of this sidecar's agents: %s", problem)
