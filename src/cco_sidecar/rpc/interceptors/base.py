"""Base classes of the interceptors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import grpc
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


class Together(Before):
    """Several of them, in one coroutine."""

    def __init__(self, interceptors: Iterable[Before]) -> None:
        self._acts = [each.before for each in interceptors]

    def before(self, call: Call, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        for act in self._acts:
            act(call, request_or_iterator, context)


class Outcome(NamedTuple):
    """How a call has ended: the name of its status, and whether that is a failure."""

    status: str
    failed: bool


SUCCEEDED = Outcome("OK", failed=False)


def outcome_of(problem: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> Outcome:
    if isinstance(problem, asyncio.CancelledError | GeneratorExit):
        # A caller that cancels is not a failure.
        return Outcome("CANCELLED", failed=False)
    code = context.code()
    return Outcome(code.name if isinstance(code, grpc.StatusCode) else "CANCELLED", failed=True)


class Around(AsyncServerInterceptor):
    """An interceptor that acts when the call ends. ``failed`` gets the exception, and may raise another instead.

    ``intercept`` is for unary responses; of a stream, the chain calls ``succeeded`` or ``failed`` when it ends.
    """

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        try:
            answer = await method(request_or_iterator, context)
        except BaseException as problem:
            await self.failed(current.get(), problem, context)
            raise
        self.succeeded(current.get())
        return answer

    def succeeded(self, call: Call) -> None:
        """Called when the call succeeds. Does nothing by default."""

    async def failed(self, call: Call, problem: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        raise NotImplementedError
