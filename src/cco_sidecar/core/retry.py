"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random

_FIRST_SECONDS = 0.1
_MAX_SECONDS = 5.0


def doubled(seconds: float, times: int, most: float) -> float:
    """Returns ``seconds``, doubled so many times, up to ``most``."""
    # 2.0**1024 overflows, and a sidecar may be away for days.
    return min(most, seconds * 2.0 ** min(times, 32))


class Backoff:
    """The pauses between attempts. ``failures``: how many attempts in a row have failed."""

    def __init__(self) -> None:
        self.failures = 0

    def failed(self) -> float:
        """Counts a failure, and returns the seconds until the next attempt: 0.1, 0.2, 0.4, ... up to 5, times a jitter
        of 0.5 to 1."""
        pause = doubled(_FIRST_SECONDS, self.failures, _MAX_SECONDS)
        self.failures += 1
        return pause * random.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """Starts again with the shortest pause."""
        self.failures = 0
