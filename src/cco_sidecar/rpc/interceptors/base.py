"""Base classes that handle unary and streaming responses alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc.aio
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.rpc.call import Call, current

Method = Callable[[Any, Any], Any]


class Before(AsyncServerInterceptor):
    """An interceptor that acts before the call proceeds."""

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        self.before(current.get(), request_or_iterator, context)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response

    def before(self, call: Call, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        raise NotImplementedError


class Around(AsyncServerInterceptor):
    """An interceptor that acts when the call ends. ``failed`` gets the exception, and may raise another instead."""

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        response = method(request_or_iterator, context)
        if hasattr(response, "__aiter__"):
            return self._stream(response, context)
        try:
            answer = await response
        except BaseException as problem:
            await self.failed(current.get(), problem, context)
            raise
        self.succeeded(current.get())
        return answer

    async def _stream(
        self, responses: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        # Get the call now: a stream closed by the garbage collector ends in another context.
        call = current.get()
        try:
            async with aclosing(responses):  # type: ignore[type-var]
                async for response in responses:
                    yield response
        except BaseException as problem:
            await self.failed(call, problem, context)
            raise
        self.succeeded(call)

    def succeeded(self, call: Call) -> None:
        """Called when the call succeeds. Does nothing by default."""

    async def failed(self, call: Call, problem: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        raise NotImplementedError
