"""Passes a call on to the sidecar that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.rpc.call import Call, current
from cco_sidecar.rpc.forwarding import Forwarding
from cco_sidecar.rpc.interceptors.base import Method
from orchestra.v1 import options_pb2

_PAUSE_SECONDS = 0.5


class Forward(AsyncServerInterceptor):
    def __init__(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        call = current.get()
        if call.policy.rules.home == options_pb2.HOME_UNSPECIFIED:
            response = method(request_or_iterator, context)
            return response if hasattr(response, "__aiter__") else await response
        if call.policy.rules.mode == options_pb2.MODE_STREAM:
            return self._stream(call, method, request_or_iterator, context)
        return await self._unary(call, method, request_or_iterator, context)

    async def _unary(self, call: Call, method: Method, request: Message, context: Any) -> Any:
        until = self._forwarding.deadline()
        while True:
            member = await self._forwarding.target(call, request, until)
            try:
                if member is None:
                    return await method(request, context)
                return await self._forwarding.unary(call, request, member)
            except SidecarError as problem:
                if not self._forwarding.may_repeat(problem, call, until):
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _stream(self, call: Call, method: Method, request: Message, context: Any) -> AsyncGenerator[Any, None]:
        until = self._forwarding.deadline()
        while True:
            member = await self._forwarding.target(call, request, until)
            answers = method(request, context) if member is None else self._forwarding.stream(call, request, member)
            begun = False
            try:
                async for answer in answers:
                    begun = True
                    yield answer
                return
            except SidecarError as problem:
                if begun or not self._forwarding.may_repeat(problem, call, until):
                    raise
            finally:
                await answers.aclose()
            await asyncio.sleep(_PAUSE_SECONDS)
