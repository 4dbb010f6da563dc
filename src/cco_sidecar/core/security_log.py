"""What a person wants to know after an attack: a log of its own, ``security.log``, one JSON object a line.

Refused tokens, denied calls, revocations, spawns, approvals, trust and the use of credentials. No token and no secret
stands in it.
"""

from __future__ import annotations

import logging
import time

NAME = "cco_sidecar.security"
_log = logging.getLogger(NAME)
# Of what anybody can cause without a token; the rest of a second is only counted, so that a flood does not wash away
# the log.
_MOST_A_SECOND = 20


class _Flood:
    def __init__(self) -> None:
        self._second = 0
        self._seen = 0

    def passes(self) -> int | None:
        """None for one too many; else how many were left out since the last that passed."""
        second = int(time.monotonic())
        left_out = 0
        if second != self._second:
            left_out = max(0, self._seen - _MOST_A_SECOND)
            self._second, self._seen = second, 0
        self._seen += 1
        return left_out if self._seen <= _MOST_A_SECOND else None


_refusals = _Flood()


def record(event: str, **fields: object) -> None:
    """``event``: such as ``agent_spawned``; ``fields``: who, what, which project."""
    _log.info(event, extra={"event": event} | fields)


def refused(event: str, **fields: object) -> None:
    """The same for what a caller was not allowed."""
    left_out = _refusals.passes()
    if left_out is not None:
        record(event, **fields, **({"left_out_before": left_out} if left_out else {}))
