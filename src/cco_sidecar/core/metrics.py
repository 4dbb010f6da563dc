"""Metrics of recent calls and of the context cache, and the time of each agent's last call."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

from cco_sidecar.core.principal import Principal

_WINDOW = 60.0
_MAX_SAMPLES = 20_000
_MAX_AGENTS = 10_000


class Performance(NamedTuple):
    """Latencies of unary calls in the last minute, in milliseconds, and rates of all calls."""

    mean: float
    p95: float
    p99: float
    per_second: float
    errors_per_minute: float


class CacheFigures:
    """Metrics of the context cache. ``entries`` is the number of cached contexts."""

    def __init__(self) -> None:
        self.entries = 0
        self._looked: Counter[bool] = Counter()

    def looked_up(self, *, hit: bool) -> None:
        self._looked[hit] += 1

    @property
    def hit_rate(self) -> float:
        """From 0 to 1; 0 before the first lookup."""
        looked = self._looked.total()
        return self._looked[True] / looked if looked else 0.0


class Metrics:
    """Keeps at most 20,000 calls and 10,000 agents. Not thread-safe."""

    def __init__(self) -> None:
        self.cache = CacheFigures()
        # (time, seconds or None for long polls and streams, failed)
        self._calls: deque[tuple[float, float | None, bool]] = deque(maxlen=_MAX_SAMPLES)
        self._agents: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def record(self, seconds: float | None, *, failed: bool) -> None:
        self._calls.append((time.monotonic(), seconds, failed))

    def seen(self, principal: Principal) -> None:
        if principal.operator:
            return
        self._agents[principal.subject] = (time.monotonic(), principal.agent_type)
        self._agents.move_to_end(principal.subject)
        if len(self._agents) > _MAX_AGENTS:
            self._agents.popitem(last=False)

    def last_call(self, subject: str) -> float | None:
        """Returns the monotonic time of an agent's last call, or None if unknown."""
        seen = self._agents.get(subject)
        return seen[0] if seen else None

    def performance(self) -> Performance:
        now = time.monotonic()
        while self._calls and self._calls[0][0] < now - _WINDOW:
            self._calls.popleft()
        times = sorted(seconds * 1000 for _, seconds, _ in self._calls if seconds is not None)
        # If there were more calls than are kept, the window is shorter than a minute.
        full = len(self._calls) == _MAX_SAMPLES
        span = max(now - self._calls[0][0], 1e-3) if full else _WINDOW
        failures = sum(failed for _, _, failed in self._calls)
        return Performance(
            sum(times) / len(times) if times else 0.0,
            _percentile(times, 0.95),
            _percentile(times, 0.99),
            len(self._calls) / span,
            failures * 60 / span,
        )


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
