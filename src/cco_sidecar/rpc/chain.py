"""The interceptor chain around the servicers, built once at startup for both transports."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from grpc_interceptor.server import AsyncServerInterceptor

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
from cco_sidecar.core.tracing import Tracer
from cco_sidecar.rpc.call import Call, current
from cco_sidecar.rpc.forwarding import Forwarding
from cco_sidecar.rpc.interceptors.access_log import AccessLog
from cco_sidecar.rpc.interceptors.authenticate import Authenticate
from cco_sidecar.rpc.interceptors.authorise import Authorise
from cco_sidecar.rpc.interceptors.base import Around, Before, Method, Together
from cco_sidecar.rpc.interceptors.errors import Errors
from cco_sidecar.rpc.interceptors.forward import Forward
from cco_sidecar.rpc.interceptors.prove import Prove
from cco_sidecar.rpc.interceptors.rate_limit import RateLimit
from cco_sidecar.rpc.interceptors.receive import Deferred, Malformed, Receive
from cco_sidecar.rpc.interceptors.request_id import RequestId
from cco_sidecar.rpc.interceptors.scope import Scope
from cco_sidecar.rpc.interceptors.trace import JoinTrace, RecordSpan
from cco_sidecar.rpc.interceptors.validate import Validate
from cco_sidecar.rpc.receiving import Admission
from cco_sidecar.rpc.servicers import match
from orchestra.v1 import options_pb2

# The most open client streams per agent; each may be a request that never ends.
_MAX_PUBLISHING = 16


Send = Callable[[Any], Awaitable[None]]
Sink = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Handler:
    """An RPC with all interceptors around it. One of ``unary`` and ``stream`` is set.

    ``unary(request, context)`` returns the response; ``stream(request, context, send, sink)`` sends each response. The
    request is a Deferred, or an asynchronous iterator of requests if ``client_streaming``. ``encode`` takes a Message
    or an Encoded. ``sink``, if there is one, takes an Encoded at once or returns False.
    """

    decode: Callable[[bytes], Any]
    client_streaming: bool
    unary: Callable[[Any, Any], Awaitable[Any]] | None = None
    stream: Callable[[Any, Any, Send, Sink | None], Awaitable[None]] | None = None

    @staticmethod
    def encode(response: Any) -> bytes:
        return response.SerializeToString()  # type: ignore[no-any-return]


Handlers = Mapping[str, Handler]


def interceptors(
    settings: Settings,
    tokens: Tokens,
    metrics: Metrics,
    tracer: Tracer,
    admission: Admission,
    forwarding: Forwarding | None = None,
) -> list[AsyncServerInterceptor]:
    """Returns the interceptors, outermost first. ``forwarding``: to the other sidecars, if there may be some. Raises
    SettingsError."""
    return [
        # First, because every log line and error names the request id.
        RequestId(policies(services()), metrics),
        JoinTrace(tracer),
        # Outside Errors, so that it sees the same errors as the caller.
        AccessLog(metrics),
        RecordSpan(tracer),
        Errors(),
        # Before a byte of the request is received.
        Authenticate(tokens, settings.allowed_hosts, forwarding.passes if forwarding is not None else None),
        *([Prove(forwarding.passes)] if forwarding is not None else []),
        RateLimit(RateLimits(settings.rate_limits)),
        Authorise(),
        Receive(admission),
        Validate(),
        # A valid request may still concern what the caller does not own.
        Scope(settings.default_project),
        # What another sidecar serves.
        *([Forward(forwarding)] if forwarding is not None else []),
    ]


def build(servicers: Sequence[object], around: Sequence[AsyncServerInterceptor], tokens: Tokens) -> Handlers:
    """Returns the handlers by path, each with all interceptors around it.

    grpc.aio would rebuild the chain for every call, and pass every message of a stream through each interceptor. Here
    the chain is built once, and interceptors see a stream open and end. Raises TypeError if the servicers do not match
    the services.
    """
    handlers: dict[str, Handler] = {}
    parked = Parked(MAX_PARKED, "long polls and streams")
    publishing = Parked(_MAX_PUBLISHING, "streams of published events")
    for service, servicer in match(services(), servicers):
        for method in service.methods:
            waiting = publishing if method.client_streaming else parked
            handlers[method_path(method)] = _handler(method, getattr(servicer, method.name), around, tokens, waiting)
    return handlers


def generic_handlers(handlers: Handlers) -> list[Any]:
    """Returns the handlers in the form that grpc.aio.Server.add_generic_rpc_handlers takes."""
    services: dict[str, dict[str, Any]] = {}
    for path, handler in handlers.items():
        _, service, name = path.split("/")
        services.setdefault(service, {})[name] = _unread(handler)
    return [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]


def _unread(handler: Handler) -> Any:
    """Adapts a handler to gRPC, such that the request is not read before the caller is known to be permitted.

    For a unary request, grpc.aio would receive the whole message before it calls the handler. For a stream it leaves
    reading to the handler, so unary methods are registered as streams.
    """
    decode = handler.decode

    def deferred(context: grpc.aio.ServicerContext[Any, Any]) -> Deferred:
        return Deferred(
            lambda: only_message(context),
            lambda data: beside_the_loop(decode, data, size=len(data)),
            getattr(context, "read_nowait", None),
        )

    if handler.unary is not None:
        call = handler.unary

        async def unary(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            return await call(deferred(context), context)

        return grpc.stream_unary_rpc_method_handler(unary, response_serializer=handler.encode)
    assert handler.stream is not None
    run = handler.stream

    async def stream(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        request = requests if handler.client_streaming else deferred(context)
        # grpcio can only write by awaiting.
        await run(request, context, context.write, getattr(context, "write_nowait", None))

    return grpc.stream_stream_rpc_method_handler(
        stream, decode if handler.client_streaming else None, response_serializer=handler.encode
    )


async def only_message(context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    """Reads the message of a unary call. Raises SidecarError (REQ_001) if there is none."""
    message = await context.read()
    if message is grpc.aio.EOF:
        raise invalid_request("the call ended without a request message")
    return message


def _handler(
    method: MethodDescriptor,
    act: Callable[..., Any],
    around: Sequence[AsyncServerInterceptor],
    tokens: Tokens,
    parked: Parked,
) -> Handler:
    decode = _deserializer(message_factory.GetMessageClass(method.input_type), max_request_bytes(method))
    path = method_path(method)

    async def unary(request: Any, context: Any) -> Any:
        return await act(request, current.get().principal)

    async def wait(request: Any, context: Any) -> Any:
        call = current.get()
        async with parked.one(call.principal), _guard(tokens, call):
            return await act(request, call.principal)

    def opened(request: Any, context: Any) -> Any:
        return act(request, current.get().principal)

    if not method.server_streaming:
        called = wait if rules_of(method).mode == options_pb2.MODE_WAIT else unary
        return Handler(decode, method.client_streaming, unary=_intercepted(around, called, path))
    # Outermost last: they act when the stream ends, which is after they have returned.
    ending = [each for each in reversed(around) if isinstance(each, Around)]
    before = [each for each in around if not isinstance(each, Around)]
    opening = _intercepted(before, opened, path)

    async def stream(request: Any, context: Any, send: Send, sink: Sink | None) -> None:
        try:
            responses = await opening(request, context)
            if sink is not None and hasattr(responses, "sink"):
                responses.sink = sink
            call = current.get()
            async with parked.one(call.principal), _guard(tokens, call), aclosing(responses):
                async for response in responses:
                    await send(response)
        except BaseException as problem:
            await _failed(ending, problem, context)
        for each in ending:
            each.succeeded(current.get())

    return Handler(decode, method.client_streaming, stream=stream)


def _guard(tokens: Tokens, call: Call) -> AbstractAsyncContextManager[None]:
    return tokens.guard_vouched(call.principal) if call.via else tokens.guard(call.token)


def _intercepted(around: Sequence[AsyncServerInterceptor], method: Method, path: str) -> Method:
    """Puts interceptors around a method, the first outermost."""
    for interceptor in reversed(_joined(around)):
        method = _within(interceptor, method, path)
    return method


def _joined(around: Sequence[AsyncServerInterceptor]) -> list[AsyncServerInterceptor]:
    """Makes one of those that follow one another and only act before the call."""
    found: list[AsyncServerInterceptor] = []
    for acts_before, group in itertools.groupby(around, lambda each: isinstance(each, Before)):
        members: list[Any] = list(group)
        found += [Together(members)] if acts_before else members
    return found


def _within(interceptor: AsyncServerInterceptor, method: Method, path: str) -> Method:
    def call(request: Any, context: Any) -> Any:
        return interceptor.intercept(method, request, context, path)

    return call


async def _failed(ending: Sequence[Around], problem: BaseException, context: Any) -> NoReturn:
    """Tells the interceptors, innermost first, that a stream ended with ``problem``; raises what they make of it."""
    call = current.get()
    for each in ending:
        try:
            await each.failed(call, problem, context)
        except BaseException as other:
            problem = other
    raise problem


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
