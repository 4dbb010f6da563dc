"""Until when the processes of agents may run: the others count on it that they have ended when a sidecar is lost.

The shims read the file. So agents also end when the sidecar was killed, hangs, or does not reach the database.
"""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

FILE = "lease"
# What a shim may need to notice, and its agent to end.
_MARGIN_SECONDS = 8.0


class LeaseFile:
    """A file with the uptime, in seconds, at which the agents have to end."""

    def __init__(self, path: Path, lost_after_seconds: float) -> None:
        self._path = path
        self._fresh = path.with_name(f"{path.name}.tmp")
        self._seconds = lost_after_seconds

    def renew(self, began: float, seconds: float | None = None) -> None:
        """Extends the lease. ``began``: the uptime just before the others were given a sign of life;
        ``seconds``: how long after it this machine counts as lost."""
        until = began + (self._seconds if seconds is None else seconds) - _MARGIN_SECONDS
        try:
            # Not synced: it concerns the processes of this boot only.
            self._fresh.write_text(f"{until:.3f}\n")
            self._fresh.replace(self._path)
        except OSError as problem:
            log.warning("cannot renew the lease of this sidecar's agents: %s", problem)
