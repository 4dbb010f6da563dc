"""Receives and decodes the request, once the caller is known to be permitted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.rpc.call import current
from cco_sidecar.rpc.interceptors.base import Method
from cco_sidecar.rpc.receiving import Admission


class Malformed:
    """Replaces a request whose bytes were rejected. Validation raises the error when it reaches this request."""

    def __init__(self, refusal: SidecarError) -> None:
        self.refusal = refusal


class Deferred:
    """A request that has not been read yet."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[bytes]] | None,
        decode: Callable[[bytes], Awaitable[Any]],
        at_hand: Callable[[], bytes | None] | None = None,
    ) -> None:
        """``receive`` returns the bytes; None if there are none. ``decode`` makes a request or an iterator of them.
        ``at_hand`` returns the bytes if they have arrived already."""
        self.at_hand = at_hand
        self.receive = receive
        self.decode = decode


class Receive(AsyncServerInterceptor):
    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        if isinstance(request_or_iterator, Deferred):
            request_or_iterator = await self._request(request_or_iterator, context)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response

    async def _request(self, deferred: Deferred, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        data = deferred.at_hand() if deferred.at_hand is not None else None
        if data is not None:
            return await deferred.decode(data)
        data = b""
        if deferred.receive is not None:
            async with self._admission.one(current.get().principal.subject, context.peer()):
                data = await deferred.receive()
        return await deferred.decode(data)
