"""The security log, for investigating an attack: ``security.log``, one JSON object per line.

It records refused tokens, denied calls, revocations, spawns, approvals, trust and the use of credentials. It contains
no tokens or secrets.
"""

from __future__ import annotations

import logging
import time

NAME = "cco_sidecar.security"
_log = logging.getLogger(NAME)
# The most refusals logged per second. The rest are only counted, so that a caller without a token cannot flush the log.
_MAX_PER_SECOND = 20


class _Flood:
    def __init__(self) -> None:
        self._second = 0
        self._seen = 0

    def passes(self) -> int | None:
        """Returns None if the limit is reached, otherwise how many entries were left out before this one."""
        second = int(time.monotonic())
        left_out = 0
        if second != self._second:
            left_out = max(0, self._seen - _MAX_PER_SECOND)
            self._second, self._seen = second, 0
        self._seen += 1
        return left_out if self._seen <= _MAX_PER_SECOND else None


_refusals = _Flood()


def record(event: str, **fields: object) -> None:
    """Logs an event, such as ``agent_spawned``. ``fields`` say who did what in which project."""
    _log.info(event, extra={"event": event} | fields)


def refused(event: str, **fields: object) -> None:
    """Logs a refusal, unless there are too many in this second."""
    left_out = _refusals.passes()
    if left_out is not None:
        record(event, **fields, **({"left_out_before": left_out} if left_out else {}))
