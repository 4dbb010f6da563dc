"""Health and reflection, open to everyone, behind the limits on what strangers may send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.rpc.chain import only_message
from cco_sidecar.rpc.interceptors.errors import CODES
from cco_sidecar.rpc.receiving import Receiving

_MOST_WATCHES = 1024


class OpenServices:
    """What health and reflection are registered with in a server's place."""

    def __init__(self, health_servicer: HealthServicer, services: Sequence[str], receiving: Receiving) -> None:
        """``services``: full names that reflection lists beside its own and health's."""
        self._receiving = receiving
        self._watches = 0
        self.handlers: list[grpc.GenericRpcHandler] = []
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, self)
        listed = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(ReflectionServicer(listed), self)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """The same handlers come by name, below."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Any]) -> None:
        limited = {name: self._limited(handler) for name, handler in methods.items()}
        self.handlers.append(grpc.method_handlers_generic_handler(service, limited))

    def _limited(self, handler: Any) -> Any:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }

        async def unary(_: Any, context: Any) -> Any:
            async with self._received(context):
                request = await only_message(context)
            return await handler.unary_unary(request, context)

        async def watch(_: Any, context: Any) -> None:
            async with self._received(context):
                request = await only_message(context)
            if self._watches >= _MOST_WATCHES:
                text = f"{_MOST_WATCHES} watches are open; end one of them first"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
            self._watches += 1
            try:
                await handler.unary_stream(request, context)
            finally:
                self._watches -= 1

        async def converse(requests: Any, context: Any) -> AsyncIterator[Any]:
            # As long as it is open, a message may be on its way.
            async with self._received(context), aclosing(handler.stream_stream(requests, context)) as responses:
                async for response in responses:
                    yield response

        if handler.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(unary, **codec)
        return grpc.stream_stream_rpc_method_handler(watch if handler.unary_stream else converse, **codec)

    @asynccontextmanager
    async def _received(self, context: Any) -> AsyncIterator[None]:
        try:
            async with self._receiving.one("", context.peer()):
                yield
        except SidecarError as refusal:
            await context.abort(CODES[refusal.kind.grpc_code], refusal.message)
