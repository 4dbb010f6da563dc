"""What the sidecar measures of itself: calls, streams, the context cache, delays; and each agent's last call."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

from cco_sidecar.core.principal import Principal

_WINDOW = 60.0
_MAX_SAMPLES = 20_000
_MAX_AGENTS = 10_000


# Upper bounds in seconds.
_CALL_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DELAY_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Histogram:
    """Counts values by upper bound, and adds them up. One thread may write while others read."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = _DELAY_SECONDS) -> None:
        self.bounds = bounds
        # The last counts what is above all bounds.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


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
    def hits(self) -> int:
        return self._looked[True]

    @property
    def misses(self) -> int:
        return self._looked[False]

    @property
    def hit_rate(self) -> float:
        """From 0 to 1; 0 before the first lookup."""
        looked = self._looked.total()
        return self._looked[True] / looked if looked else 0.0


class Metrics:
    """Keeps at most 20,000 calls and 10,000 agents. Not thread-safe."""

    def __init__(self) -> None:
        self.cache = CacheFigures()
        # Ended calls by RPC and status code, and how long the unary ones took.
        self.ended: Counter[tuple[str, str]] = Counter()
        self.seconds: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(_CALL_SECONDS))
        # Open long polls and streams by RPC.
        self.open: Counter[str] = Counter()
        self.loop_lag = Histogram()
        # (time, seconds or None for long polls and streams, failed)
        self._calls: deque[tuple[float, float | None, bool]] = deque(maxlen=_MAX_SAMPLES)
        self._agents: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def opened(self, rpc: str) -> None:
        """Counts a long poll or a stream until ``closed``."""
        self.open[rpc] += 1

    def closed(self, rpc: str) -> None:
        self.open[rpc] -= 1

    def record(self, rpc: str, code: str, seconds: float | None, *, failed: bool) -> None:
        """Counts a call that has ended. ``seconds`` is None for long polls and streams."""
        self.ended[rpc, code] += 1
        if seconds is not None:
            self.seconds[rpc].observe(seconds)
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
