"""Holds the request against the field rules of its proto."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.core.errors import invalid_request
from cco_sidecar.core.validate import validate
from cco_sidecar.rpc.interceptors.base import Method


class Malformed:
    """Stands in for a request whose bytes are no message of its type."""


class Deferred:
    """A request that is still to be read and decoded, so that nobody's body is read before it is known who calls."""

    def __init__(self, decode: Callable[[], Awaitable[Message]]) -> None:
        self.decode = decode


class Validate(AsyncServerInterceptor):
    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        if hasattr(request_or_iterator, "__aiter__"):
            request_or_iterator = _each(request_or_iterator)
        else:
            if isinstance(request_or_iterator, Deferred):
                request_or_iterator = await request_or_iterator.decode()
            _check(request_or_iterator)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response


async def _each(requests: AsyncIterator[Any]) -> AsyncIterator[Message]:
    async for request in requests:
        _check(request)
        yield request


def _check(request: Any) -> None:
    if isinstance(request, Malformed):
        raise invalid_request("the request's bytes are not a message of this method's request type")
    validate(request)
