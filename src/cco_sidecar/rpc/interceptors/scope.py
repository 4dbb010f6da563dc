"""Checks that the request concerns only what its caller owns, and fills in empty fields."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.auth import scope
from cco_sidecar.core.principal import Principal
from cco_sidecar.rpc.call import current
from cco_sidecar.rpc.interceptors.base import Method


class Scope(AsyncServerInterceptor):
    def __init__(self, default_project: str) -> None:
        self._default = default_project

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        principal = current.get().principal
        if hasattr(request_or_iterator, "__aiter__"):
            request_or_iterator = self._each(request_or_iterator, principal)
        else:
            scope.apply(request_or_iterator, principal, self._default)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response

    async def _each(self, requests: AsyncIterator[Message], principal: Principal) -> AsyncIterator[Message]:
        async for request in requests:
            scope.apply(request, principal, self._default)
            yield request
