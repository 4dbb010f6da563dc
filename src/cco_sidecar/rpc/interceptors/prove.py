"""Proves to a sidecar that passes a call on that it is answered by one that has the key."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from grpc_interceptor.server import AsyncServerInterceptor

from cco_sidecar.auth.passes import PROOF, Passes
from cco_sidecar.rpc.call import current
from cco_sidecar.rpc.interceptors.base import Method


class Prove(AsyncServerInterceptor):
    def __init__(self, passes: Passes) -> None:
        self._passes = passes

    async def intercept(
        self, method: Method, request_or_iterator: Any, context: grpc.aio.ServicerContext[Any, Any], method_name: str
    ) -> Any:
        if nonce := current.get().nonce:
            await context.send_initial_metadata(((PROOF, self._passes.proof(nonce)),))
            # It is on its way before anything is done: without it, the call is made again.
            await asyncio.sleep(0)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response
