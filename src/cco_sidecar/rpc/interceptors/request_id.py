"""Names the call: the caller's ``x-request-id`` when it is sane, else a new one.

It goes out with errors only: trailing metadata on every answer costs a sixth of the calls per second. Over REST the
gateway names the call and says so in every answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc.aio
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.auth.policy import MethodPolicy
from cco_sidecar.core import ids
from cco_sidecar.rpc.call import Call, current, metadata_value
from cco_sidecar.rpc.interceptors.base import Method


class RequestId(AsyncServerInterceptor):
    def __init__(self, policies: Mapping[str, MethodPolicy]) -> None:
        self._policies = policies

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        given = metadata_value(context, "x-request-id")
        request_id = given if given and ids.is_id(given) else ids.request_id()
        call = Call(self._policies[method_name], request_id)
        current.set(call)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response
