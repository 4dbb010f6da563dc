"""Health and reflection: open to everyone, with limits for unauthenticated callers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore, NotInTime
from cco_sidecar.rpc.chain import decoded, only_message
from cco_sidecar.rpc.codes import CODES
from cco_sidecar.rpc.receiving import Admission, Receiving
from cco_sidecar.rpc.reflection import V1, Descriptors

_MAX_WATCHES = 32
_MAX_CONVERSATIONS, _MAX_CONVERSATIONS_OF_ONE = 64, 4


class OpenServices:
    """Stands in for a server when health and reflection register, and limits their handlers."""

    def __init__(self, health_servicer: HealthServicer, services: Sequence[str], admission: Admission) -> None:
        """``services`` are the full names that reflection lists, in addition to health and itself."""
        self._admission = admission
        # An open reflection stream may always be receiving, so these streams have a separate limit.
        self._conversations = Receiving(_MAX_CONVERSATIONS, _MAX_CONVERSATIONS_OF_ONE)
        self._watching = KeyedSemaphore[str](_MAX_WATCHES)
        self.handlers: list[grpc.GenericRpcHandler] = []
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, self)
        listed = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME, V1]
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(ReflectionServicer(listed, Descriptors()), self)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Does nothing: the same handlers are registered by name, below."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Any]) -> None:
        limited = {name: self._limited(handler) for name, handler in methods.items()}
        self.handlers.append(grpc.method_handlers_generic_handler(service, limited))
        if service == reflection.SERVICE_NAME:
            self.handlers.append(grpc.method_handlers_generic_handler(V1, limited))

    def _limited(self, handler: Any) -> Any:
        decode, encode = handler.request_deserializer, handler.response_serializer

        async def unary(_: Any, context: Any) -> Any:
            async with _aborted(context):
                request = await self._request(context, decode)
            return await handler.unary_unary(request, context)

        async def watch(_: Any, context: Any) -> None:
            async with _aborted(context):
                request = await self._request(context, decode)
                async with self._watching.hold(context.peer(), 0):
                    await handler.unary_stream(request, context)

        async def converse(_: Any, context: Any) -> AsyncIterator[Any]:
            async with (
                _aborted(context),
                aclosing(handler.stream_stream(self._each(context, decode), context)) as responses,
            ):
                async for response in responses:
                    yield response

        if handler.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(unary, response_serializer=encode)
        kind = watch if handler.unary_stream else converse
        return grpc.stream_stream_rpc_method_handler(kind, response_serializer=encode)

    async def _request(self, context: Any, decode: Callable[[bytes], Any]) -> Any:
        async with self._admission.one("", context.peer()):
            return decoded(await only_message(context), decode)

    async def _each(self, context: Any, decode: Callable[[bytes], Any]) -> AsyncIterator[Any]:
        while True:
            async with self._conversations.one(context.peer()):
                request = await context.read()
            if request is grpc.aio.EOF:
                return
            yield decoded(request, decode)


@asynccontextmanager
async def _aborted(context: Any) -> AsyncIterator[None]:
    """Aborts the call with what its body raises."""
    try:
        yield
    except SidecarError as refusal:
        await context.abort(CODES[refusal.kind.grpc_code], refusal.message)
    except NotInTime:
        text = f"this connection has {_MAX_WATCHES} watches open; close one first"
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
