"""Accepts connections and runs gRPC's generic handlers on their streams."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio

from cco_sidecar.core import sockets
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.rpc.codes import CODES
from cco_sidecar.rpc.http2.connection import Connection
from cco_sidecar.rpc.http2.context import StreamContext
from cco_sidecar.rpc.http2.frames import ErrorCode
from cco_sidecar.rpc.http2.headers import percent_encoded
from cco_sidecar.rpc.http2.stream import Stream
from cco_sidecar.rpc.limits import HANDSHAKE_SECONDS, IDLE_SECONDS, MAX_RECEIVE_BYTES, SILENT_SECONDS
from cco_sidecar.rpc.listening import Listener
from cco_sidecar.rpc.tls import Tls

log = logging.getLogger(__name__)

_BACKLOG = 2048
_LOOK_SECONDS = 5.0
_FAREWELL_SECONDS = 1.0
_ANSWER_SECONDS = 20.0
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# The longest that the event loop can wait for.
_MAX_TIMEOUT = 365 * 86400.0

# gRPC over HTTP/2, section Requests. gRPC-Web is another protocol.
_CONTENT_TYPE = re.compile(r"application/grpc(\+[\w.\-]+)?(\s*;.*)?", re.IGNORECASE)


class _Details(NamedTuple):
    method: str
    invocation_metadata: tuple[()] = ()


class Http2Core:
    """Accepts at most ``max_connections``. Binds its port when created."""

    max_receive = MAX_RECEIVE_BYTES

    def __init__(self, host: str, port: int, path: Path | None, max_connections: int, tls: Tls | None = None) -> None:
        """``path`` is that of an additional Unix socket. Raises OSError if the port cannot be opened."""
        self._tls = tls
        self._max_connections = max_connections
        self._sockets = [sockets.bound(host, port)]
        self.port: int = self._sockets[0].getsockname()[1]
        if path is not None:
            self._sockets.append(sockets.bound_unix(path))
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._methods: dict[str, Any] = {}
        self._connections: set[Connection] = set()
        self._unconnected = asyncio.Event()
        self._unconnected.set()
        self._servers: list[asyncio.AbstractServer | Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.TimerHandle | None = None

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._handlers += handlers

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            if self._tls is not None and each.family != socket.AF_UNIX:
                each.listen(_BACKLOG)
                self._servers.append(Listener(each, self._tls, self._connection))
                continue
            create = loop.create_unix_server if each.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(self._connection, sock=each, backlog=_BACKLOG))
        self._looking = loop.call_later(_LOOK_SECONDS, self._look)

    def _connection(self) -> Connection:
        return Connection(self, _peer)

    async def stop(self, grace: float) -> None:
        """Takes no new calls, and gives open ones ``grace`` seconds to end, and clients a moment to learn of it."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.drain()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._unconnected.wait(), min(grace, _FAREWELL_SECONDS))
        for connection in list(self._connections):
            connection.close()
        if self._looking is not None:
            self._looking.cancel()

    def close(self) -> None:
        """Releases the sockets."""
        for each in self._sockets:
            each.close()

    # -- connections ---------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> bool:
        """Returns False if there are too many connections."""
        if len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        self._unconnected.clear()
        return True

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._unconnected.set()

    def _look(self) -> None:
        """Closes connections that never began, whose client has vanished, or that nobody uses."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._connections):
            silent = now - connection.heard
            if connection.closing:
                # It did not read what was left to send.
                connection.abort()
            elif not connection.ready:
                if now - connection.opened_at > HANDSHAKE_SECONDS:
                    connection.close(ErrorCode.SETTINGS_TIMEOUT, "no settings")
            elif connection.pinged:
                if silent > SILENT_SECONDS + _ANSWER_SECONDS:
                    connection.abort()
            elif silent > IDLE_SECONDS and not connection.streams:
                connection.drain()
            elif silent > SILENT_SECONDS:
                connection.ping()
        self._looking = loop.call_later(_LOOK_SECONDS, self._look)

    # -- calls ---------------------------------------------------------------------------------------------

    def serve(self, stream: Stream, ended: Callable[[], None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._serve(stream, ended))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, stream: Stream, ended: Callable[[], None]) -> None:
        fields = stream.head.fields
        context = StreamContext(stream)
        try:
            if fields[":method"] != "POST":
                stream.refuse(405)
            elif not _CONTENT_TYPE.fullmatch(fields.get("content-type", "")):
                stream.refuse(415)
            else:
                await self._call(stream, context)
        except asyncio.CancelledError:
            if not stream.over:
                await _end(stream, grpc.StatusCode.UNAVAILABLE, "the sidecar is shutting down", ())
        finally:
            ended()

    async def _call(self, stream: Stream, context: StreamContext) -> None:
        """Runs the handler, and ends the stream with its status."""
        path = stream.head.fields[":path"]
        handler = self._handler(path)
        response = None
        try:
            seconds = _timeout(stream.head.fields.get("grpc-timeout"))
            if handler is None:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"method {path[:200]} not found")
            if seconds is None:
                response = await _run(handler, stream, context)
            else:
                async with asyncio.timeout(seconds):
                    response = await _run(handler, stream, context)
        except grpc.aio.AbortError:
            pass
        except SidecarError as problem:
            await _end(stream, CODES[problem.kind.grpc_code], problem.message, ())
            return
        except TimeoutError:
            await _end(stream, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", ())
            return
        except Exception:
            log.exception("%s failed", path)
            await _end(stream, grpc.StatusCode.UNKNOWN, "internal error", ())
            return
        await _end(
            stream, context.code() or grpc.StatusCode.OK, context.details(), context.trailing_metadata(), response
        )

    def _handler(self, path: str) -> Any:
        handler = self._methods.get(path)
        if handler is None:
            details: Any = _Details(path)
            for each in self._handlers:
                handler = each.service(details)
                if handler is not None:
                    self._methods[path] = handler
                    break
        return handler


async def _run(handler: Any, stream: Stream, context: StreamContext) -> bytes | None:
    """Returns the response of a unary call; the responses of a stream are sent."""
    requests = _Requests(context, handler.request_deserializer)
    encode = handler.response_serializer or bytes
    context.encode = encode
    if handler.stream_unary is not None:
        return encode(await handler.stream_unary(requests, context))
    result = handler.stream_stream(requests, context)
    if hasattr(result, "__aiter__"):
        async with aclosing(result):
            async for response in result:
                await context.write(response)
    else:
        await result
    return None


async def _end(
    stream: Stream, code: grpc.StatusCode, details: str, trailing: Any, response: bytes | None = None
) -> None:
    number: int = code.value[0]
    status = [("grpc-status", str(number))]
    if details:
        status.append(("grpc-message", percent_encoded(details)))
    await stream.finish((*status, *trailing), response if number == 0 else None)


class _Requests:
    """Iterates over the messages of a client."""

    def __init__(self, context: StreamContext, decode: Any) -> None:
        self._context = context
        self._decode = decode

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Any:
        message = await self._context.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message if self._decode is None else self._decode(message)


def _timeout(text: str | None) -> float | None:
    """Parses grpc-timeout; what is not one counts as none, as in grpcio."""
    match = _TIMEOUT.fullmatch(text) if text else None
    return min(_MAX_TIMEOUT, int(match[1]) * _SECONDS[match[2]]) if match else None


def _peer(transport: asyncio.Transport) -> str:
    """Names the other side as gRPC does."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return "unix:"
    host, port = name[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
