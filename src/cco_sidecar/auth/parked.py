"""How many calls of one agent may wait at the same time: long polls and open streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.principal import Principal

MOST_PARKED = 64
_RETRY_SECONDS = 1.0


class Parked:
    def __init__(self, most: int = MOST_PARKED) -> None:
        self._most = most
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def one(self, principal: Principal) -> Iterator[None]:
        """While a call waits. Raises SidecarError (RATE_002) for one too many; the operator is not limited."""
        subject = principal.subject
        if not principal.operator and self._waiting[subject] >= self._most:
            raise SidecarError(
                Kind.RATE_LIMITED,
                "RATE_002",
                f"'{subject}' has {self._most} long polls and streams open; end one of them first",
                details={"limit": self._most, "retry_after_seconds": _RETRY_SECONDS},
                retry_after_seconds=_RETRY_SECONDS,
            )
        self._waiting[subject] += 1
        try:
            yield
        finally:
            self._waiting[subject] -= 1
            if not self._waiting[subject]:
                del self._waiting[subject]
