"""Receives the request, now that it is known who sends it, and holds it against the field rules of its proto."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.validate import validate
from cco_sidecar.rpc.call import current
from cco_sidecar.rpc.interceptors.base import Method
from cco_sidecar.rpc.receiving import Receiving


class Malformed:
    """Stands in for a request whose bytes are refused: it is said when it is known who calls."""

    def __init__(self, refusal: SidecarError) -> None:
        self.refusal = refusal


class Deferred:
    """A request that is still to be received and decoded, or an iterator over requests whose bytes are; so that nothing
    is read of a call before it is known whose it is."""

    def __init__(self, decode: Callable[[], Awaitable[Any]], *, empty: bool = False) -> None:
        """``empty``: no bytes are awaited."""
        self.decode = decode
        self.empty = empty


class Validate(AsyncServerInterceptor):
    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        if isinstance(request_or_iterator, Deferred):
            if request_or_iterator.empty:
                request_or_iterator = await request_or_iterator.decode()
            else:
                async with self._receiving.one(current.get().principal.subject, context.peer()):
                    request_or_iterator = await request_or_iterator.decode()
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
