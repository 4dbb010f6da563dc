"""Validates the request by the field rules of its proto."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.validate import validate
from cco_sidecar.rpc.interceptors.base import Method
from cco_sidecar.rpc.interceptors.receive import Malformed


class Validate(AsyncServerInterceptor):
    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        if hasattr(request_or_iterator, "__aiter__"):
            request_or_iterator = _each(request_or_iterator)
        else:
            await _check(request_or_iterator)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response


async def _each(requests: AsyncIterator[Any]) -> AsyncIterator[Message]:
    async for request in requests:
        await _check(request)
        yield request


async def _check(request: Any) -> None:
    if isinstance(request, Malformed):
        raise request.refusal
    await beside_the_loop(validate, request, size=request.ByteSize())
