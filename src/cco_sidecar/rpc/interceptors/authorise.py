"""Checks that the caller holds the permission that the RPC's descriptor requires."""

from __future__ import annotations

from typing import Any

import grpc.aio

from cco_sidecar.rpc.call import Call
from cco_sidecar.rpc.interceptors.base import Before


class Authorise(Before):
    def before(self, call: Call, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if call.token or call.via or not call.policy.rules.open:
            call.policy.authorise(call.principal)
