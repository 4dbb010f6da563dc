"""Sets the request id: the caller's ``x-request-id`` if it is a valid id, otherwise a new one.

Over gRPC it is returned with errors only, because trailing metadata on every response costs a sixth of the throughput.
Over REST the gateway sets it, and returns it in every response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc.aio
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.auth.policy import MethodPolicy
from cco_sidecar.core import ids
from cco_sidecar.core.metrics import Metrics
from cco_sidecar.rpc.call import Call, current, metadata_value
from cco_sidecar.rpc.interceptors.base import Method
from orchestra.v1 import options_pb2


class RequestId(AsyncServerInterceptor):
    def __init__(self, policies: Mapping[str, MethodPolicy], metrics: Metrics) -> None:
        self._policies = policies
        self._metrics = metrics

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        given = metadata_value(context, "x-request-id")
        request_id = given if given and ids.is_id(given) else ids.request_id()
        policy = self._policies[method_name]
        if policy.rules.mode != options_pb2.MODE_UNARY:
            # The access log, which comes next, counts it as closed.
            self._metrics.opened(policy.path)
        current.set(Call(policy, request_id))
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response
