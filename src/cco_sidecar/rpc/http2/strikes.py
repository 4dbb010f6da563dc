"""What a client may do that costs us work and itself nothing."""

from __future__ import annotations

from cco_sidecar.rpc.http2.frames import ConnectionFault, ErrorCode

# So many at once, and so many more each second.
_MOST = 1000.0
_FORGIVEN_PER_SECOND = 100.0


class Strikes:
    """Counts requests that are reset at once (CVE-2023-44487), empty frames, priorities and the like."""

    def __init__(self, now: float) -> None:
        self._left = _MOST
        self._at = now

    def add(self, what: str, now: float) -> None:
        """``now`` is in seconds of any clock. Raises ConnectionFault when there are too many."""
        self._left = min(_MOST, self._left + (now - self._at) * _FORGIVEN_PER_SECOND) - 1
        self._at = now
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}")
