"""The interceptor chain around the servicers, built once at startup for both transports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message

from cco_sidecar.auth.limits import RateLimits
from cco_sidecar.auth.parked import MAX_PARKED, Parked
from cco_sidecar.auth.policy import max_request_bytes, method_path, policies, rules_of
from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core.bounds import check_message
from cco_sidecar.core.errors import SidecarError, invalid_request
from cco_sidecar.core.metrics import Metrics
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.services import services
from cco_sidecar.core.settings import Settings
from cco_sidecar.rpc.call import current
from cco_sidecar.rpc.interceptors.access_log import AccessLog
from cco_sidecar.rpc.interceptors.authenticate import Authenticate
from cco_sidecar.rpc.interceptors.authorise import Authorise
from cco_sidecar.rpc.interceptors.errors import Errors
from cco_sidecar.rpc.interceptors.rate_limit import RateLimit
from cco_sidecar.rpc.interceptors.receive import Deferred, Malformed, Receive
from cco_sidecar.rpc.interceptors.request_id import RequestId
from cco_sidecar.rpc.interceptors.scope import Scope
from cco_sidecar.rpc.interceptors.validate import Validate
from cco_sidecar.rpc.receiving import Admission
from cco_sidecar.rpc.servicers import match
from orchestra.v1 import options_pb2

# The most open client streams per agent; each may be a request that never ends.
_MAX_PUBLISHING = 16


class _Details(NamedTuple):
    method: str
    invocation_metadata: tuple[()] = ()


Handlers = Mapping[str, Any]


def interceptors(
    settings: Settings, tokens: Tokens, metrics: Metrics, admission: Admission
) -> list[grpc.aio.ServerInterceptor]:
    """Returns the interceptors, outermost first. Raises SettingsError."""
    return [
        # First, because every log line and error names the request id.
        RequestId(policies(services())),
        # Outside Errors, so that it sees the same errors as the caller.
        AccessLog(metrics),
        Errors(),
        # Before a byte of the request is received.
        Authenticate(tokens, settings.allowed_hosts),
        RateLimit(RateLimits(settings.rate_limits)),
        Authorise(),
        Receive(admission),
        Validate(),
        # A valid request may still concern what the caller does not own.
        Scope(settings.default_project),
    ]


async def build(servicers: Sequence[object], around: Sequence[grpc.aio.ServerInterceptor], tokens: Tokens) -> Handlers:
    """Returns the handlers by path, each wrapped in all interceptors.

    grpc.aio would rebuild the chain for every call. Built once, it costs a call a few microseconds. Raises TypeError if
    the servicers do not match the services.
    """
    handlers: dict[str, Any] = {}
    parked = Parked(MAX_PARKED, "long polls and streams")
    publishing = Parked(_MAX_PUBLISHING, "streams of published events")
    for service, servicer in match(services(), servicers):
        for method in service.methods:
            waiting = publishing if method.client_streaming else parked
            handler = _handler(method, getattr(servicer, method.name), tokens, waiting)
            details = _Details(method_path(method))
            for interceptor in reversed(around):
                handler = await interceptor.intercept_service(_returning(handler), details)  # type: ignore[arg-type]
            handlers[details.method] = handler
    return handlers


def generic_handlers(handlers: Handlers) -> list[Any]:
    """Returns the handlers in the form that grpc.aio.Server.add_generic_rpc_handlers takes."""
    services: dict[str, dict[str, Any]] = {}
    for path, handler in handlers.items():
        _, service, name = path.split("/")
        services.setdefault(service, {})[name] = _unread(handler)
    return [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]


def _unread(handler: Any) -> Any:
    """Wraps a handler for gRPC so that it gets a Deferred instead of a request.

    For a unary request, grpc.aio would receive the whole message before it calls the handler. For a stream it leaves
    reading to the handler, so unary methods are registered as streams.
    """
    decode, encode = handler.request_deserializer, handler.response_serializer

    def deferred(context: grpc.aio.ServicerContext[Any, Any]) -> Deferred:
        return Deferred(lambda: only_message(context), lambda data: beside_the_loop(decode, data, size=len(data)))

    if handler.unary_unary is not None:

        async def unary(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            return await handler.unary_unary(deferred(context), context)

        return grpc.stream_unary_rpc_method_handler(unary, response_serializer=encode)
    if handler.unary_stream is not None:

        async def stream(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with aclosing(handler.unary_stream(deferred(context), context)) as responses:
                async for response in responses:
                    yield response

        return grpc.stream_stream_rpc_method_handler(stream, response_serializer=encode)
    return handler


async def only_message(context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    """Reads the message of a unary call. Raises SidecarError (REQ_001) if there is none."""
    message = await context.read()
    if message is grpc.aio.EOF:
        raise invalid_request("the call ended without a request message")
    return message


def _returning(handler: Any) -> Callable[[Any], Any]:
    async def continuation(_: Any) -> Any:
        return handler

    return continuation


def _handler(method: MethodDescriptor, act: Callable[..., Any], tokens: Tokens, parked: Parked) -> Any:
    codec = {
        "request_deserializer": _deserializer(
            message_factory.GetMessageClass(method.input_type), max_request_bytes(method)
        ),
        "response_serializer": _serialize,
    }

    async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        return await act(request, current.get().principal)

    async def wait(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        call = current.get()
        async with parked.one(call.principal), tokens.guard(call.token):
            return await act(request, call.principal)

    async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        call = current.get()
        async with parked.one(call.principal), aclosing(act(request, call.principal)) as responses:
            while True:
                try:
                    async with tokens.guard(call.token):
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
                yield response

    if method.server_streaming:
        kind = (
            grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_stream_rpc_method_handler
        )
        return kind(stream, **codec)
    kind = grpc.stream_unary_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    return kind(wait if rules_of(method).mode == options_pb2.MODE_WAIT else unary, **codec)


def decoded(data: bytes, decode: Callable[[bytes], Any]) -> Any:
    """Decodes a message. Raises SidecarError (REQ_001) for invalid bytes."""
    try:
        return decode(data)
    except DecodeError:
        raise invalid_request("invalid request: the bytes are not a message of this method's request type") from None


def _deserializer(message_type: type[Message], most: int) -> Callable[[bytes], Any]:
    def deserialize(data: bytes) -> Any:
        try:
            check_message(data, most)
            return decoded(data, message_type.FromString)
        except SidecarError as refusal:
            return Malformed(refusal)

    return deserialize


def _serialize(message: Any) -> bytes:
    """Serialises a Message or an Encoded."""
    return message.SerializeToString()  # type: ignore[no-any-return]
