"""Rate limits: one token bucket per agent."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cco_sidecar.core.agent_types import CODING, GROUP_KEYS
from cco_sidecar.core.errors import Kind, SettingsError, SidecarError
from cco_sidecar.core.principal import Principal
from orchestra.v1.config_pb2 import RateLimitConfig

_ALIASES = {"coding_specialists": "coding", "architects": "architecture"}
_REMEMBERED = 10_000


class Limit(NamedTuple):
    """A bucket of ``per_minute + burst`` calls that refills at ``per_minute`` calls per minute; 0 means no limit."""

    per_minute: int
    burst: int


_WORKERS = Limit(60, 10)
_READERS = Limit(30, 5)
_UNLIMITED = Limit(0, 0)
_DEFAULTS = (
    dict.fromkeys(GROUP_KEYS, _READERS)
    | dict.fromkeys(CODING, _WORKERS)
    | {"quality": _WORKERS, "security": _WORKERS, "architecture": _UNLIMITED}
)


class Allowance(NamedTuple):
    """The values of the ``X-RateLimit-*`` headers. ``reset`` is when the bucket is full again, in Unix seconds."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> list[tuple[str, str]]:
        return [
            ("x-ratelimit-limit", str(self.limit)),
            ("x-ratelimit-remaining", str(self.remaining)),
            ("x-ratelimit-reset", str(self.reset)),
        ]


class RateLimits:
    """Token buckets, keyed by the subject of the token. Not thread-safe."""

    def __init__(
        self, overrides: Mapping[str, RateLimitConfig] | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``overrides``: by group. Raises SettingsError for a group that does not exist."""
        self._limits = dict(_DEFAULTS)
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        for name, value in (overrides or {}).items():
            group = _ALIASES.get(name, name)
            if group not in self._limits:
                raise SettingsError(
                    f"agents.rate_limits: unknown group '{name}'; known: {', '.join(sorted(self._limits))}"
                )
            for each in CODING if name == "coding_specialists" else (group,):
                self._limits[each] = _limit(value, self._limits[each])

    def take(self, principal: Principal) -> Allowance | None:
        """Counts a call. Returns None when the caller has no limit. Raises RateLimited (RATE_001)."""
        limit = self._limits.get(principal.group, _READERS)
        if principal.operator or principal.is_runner or limit.per_minute == 0:
            return None
        now = self._monotonic()
        size = limit.per_minute + limit.burst
        level, at = self._buckets.get(principal.subject, (float(size), now))
        level = min(size, level + (now - at) * limit.per_minute / 60)
        allowed = level >= 1
        level -= allowed
        self._buckets[principal.subject] = (level, now)
        self._buckets.move_to_end(principal.subject)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        full_in = (size - level) * 60 / limit.per_minute
        allowance = Allowance(limit.per_minute, int(level), math.ceil(time.time() + full_in))
        if allowed:
            return allowance
        raise RateLimited(allowance, math.ceil((1 - level) * 60 / limit.per_minute))


class RateLimited(SidecarError):
    """The caller is over its limit. ``allowance`` is still sent in the headers."""

    def __init__(self, allowance: Allowance, retry_after: int) -> None:
        super().__init__(
            Kind.RATE_LIMITED,
            "RATE_001",
            f"rate limit of {allowance.limit} calls per minute exceeded; retry in {retry_after} s",
            details={"limit": allowance.limit, "retry_after_seconds": retry_after},
            retry_after_seconds=retry_after,
        )
        self.allowance = allowance


def _limit(config: RateLimitConfig, default: Limit) -> Limit:
    if config.WhichOneof("value") == "calls_per_minute":
        return Limit(config.calls_per_minute, default.burst)
    bucket = config.bucket
    return Limit(
        bucket.requests_per_minute if bucket.HasField("requests_per_minute") else default.per_minute,
        bucket.burst if bucket.HasField("burst") else default.burst,
    )
