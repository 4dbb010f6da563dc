"""Counts the call against its agent's bucket. A long poll or a stream counts once, when it opens."""

from __future__ import annotations

from typing import Any

import grpc.aio

from cco_sidecar.auth.limits import RateLimits
from cco_sidecar.rpc.call import Call
from cco_sidecar.rpc.interceptors.base import Before


class RateLimit(Before):
    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits

    def before(self, call: Call, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if not call.token or call.via:
            # Whoever passed it on has counted it.
            return
        allowance = self._limits.take(call.principal)
        if allowance is not None:
            said = allowance.headers()
            call.metadata += said
            context.set_trailing_metadata(tuple(said))
