"""One HTTP request and its response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from google.protobuf.message import Message

from cco_sidecar.auth.policy import max_request_bytes
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.gateway import cloudevents, compat, cycle, replies, requests
from cco_sidecar.gateway.documents import Document
from cco_sidecar.gateway.incoming import Dependencies, Incoming, Mcp, Send
from cco_sidecar.gateway.routes import Route, method_not_allowed
from cco_sidecar.rpc.interceptors.receive import Deferred
from orchestra.v1 import options_pb2

HeaderList = list[tuple[bytes, bytes]]

_POLICY = b"content-security-policy"
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


def _line(header: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b\r\n" % header


_SECURITY_LINES = b"".join(map(_line, _SECURITY))
_JSON = b"application/json"
# Methods that only read (RFC 9110, section 9.2.1). A page of another site may send them, but not see the answer.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_PATH = 8192
_PART_BYTES = 256 * 1024
# A client that reads nothing of a response for this long is disconnected.
_UNREAD_SECONDS = 30.0


class Exchange(Incoming):
    """One HTTP request and its response."""

    def __init__(self, needs: Dependencies, scope: Mapping[str, Any], receive: requests.Receive, send: Send) -> None:
        super().__init__(needs, scope, receive, send)
        self._scope = scope
        self.verb: str = scope["method"]
        self.cycle = cycle.of(scope)
        self.started = False
        self.sse = False
        self.body_received = False
        self.body_is_read = False
        self.body_read: asyncio.Event | None = None

    async def receive(self) -> Mapping[str, Any]:
        message = await self._receive()
        self.body_received |= message["type"] == "http.request" and not message.get("more_body", False)
        return message

    async def run(self) -> None:
        await self.serve(self._answer())

    async def _answer(self) -> None:
        if len(self.path) > _MAX_PATH:
            raise SidecarError(Kind.INVALID_REQUEST, "REQ_001", f"the path is longer than {_MAX_PATH} bytes")
        if self.needs.mcp is not None and self.path == self.needs.mcp.path:
            await self._mcp(self.needs.mcp)
            return
        document = self.needs.documents.get(self.path)
        if document is not None:
            if self.verb == "OPTIONS":
                await self._options(["GET"])
                return
            if self.verb not in {"GET", "HEAD"}:
                raise method_not_allowed(self.verb, self.path, ["GET"])
            await self._respond_with(document)
            return
        try:
            route, variables = self.needs.routes.match(self.verb, self.path)
        except SidecarError as error:
            if self.verb != "OPTIONS" or error.kind is not Kind.METHOD_NOT_ALLOWED:
                raise
            await self._options(error.details["allowed"])
            return
        if self.verb not in _SAFE:
            self.check_origin()
        if self.verb == "HEAD" and route.rules.mode != options_pb2.MODE_UNARY:
            raise method_not_allowed(self.verb, self.path, [route.verb])
        if route.method.client_streaming:
            request = Deferred(partial(self._body, route), partial(self._lines, route))
        else:
            decode = partial(self.decoded, route, variables)
            if route.body:
                request = Deferred(partial(self._body, route), decode, partial(self._body_at_hand, route))
            else:
                request = Deferred(None, decode)
        deadline = requests.deadline_of(self.headers)
        if deadline is None:
            await self._call(route, request)
            return
        try:
            async with asyncio.timeout(deadline):
                await self._call(route, request)
        except TimeoutError:
            raise SidecarError(
                Kind.DEADLINE_EXCEEDED, "REQ_006", f"deadline exceeded: the Grpc-Timeout was {deadline:g} s"
            ) from None

    async def _mcp(self, mcp: Mcp) -> None:
        self.check_origin()
        mcp.require_caller(self.headers)
        # The server of this port leaves out what its own routes do not use.
        scope = {**self._scope, "path": self.path, "root_path": ""}
        self.started = True
        await mcp(scope, self.receive, self.send)

    async def _lines(self, route: Route, body: bytes) -> AsyncIterator[Message]:
        """Returns an iterator over the messages in the body."""
        lines = await beside_the_loop(requests.request_lines, body, self.headers, size=len(body))

        async def each() -> AsyncIterator[Message]:
            for text in lines:
                yield await beside_the_loop(requests.request_of_line, route, *text, size=len(text.data))

        return each()

    async def _body(self, route: Route) -> bytes:
        try:
            return await requests.read_body(self.receive, self.headers, max_request_bytes(route.method))
        finally:
            self.body_is_read = True
            if self.body_read is not None:
                self.body_read.set()

    def _body_at_hand(self, route: Route) -> bytes | None:
        """Returns the body if it has arrived and is not too large."""
        body = self.cycle.whole_body(max_request_bytes(route.method)) if self.cycle is not None else None
        if body is not None:
            self.body_received = self.body_is_read = True
        return body

    async def _call(self, route: Route, request: Any) -> None:
        handler: Any = self.needs.handlers[route.rpc]
        self.body_is_read |= not route.body
        if handler.stream is not None:
            await self._unless_gone(self._stream(route, handler.stream, request))
        elif route.rules.mode == options_pb2.MODE_WAIT:
            await self._reply(route, await self._unless_gone(handler.unary(request, self.context)))
        else:
            await self._reply(route, await handler.unary(request, self.context))

    async def _reply(self, route: Route, response: Any) -> None:
        status = compat.status_of(response, route.rules.success_code)
        shared = response if isinstance(response, Encoded) else None
        if route.rpc in cloudevents.LISTS and cloudevents.wants_batch(self.headers):
            cursor, body = await beside_the_loop(replies.cloud_events, response, size=replies.work_of(response))
            headers = [(b"content-type", cloudevents.BATCHED.encode()), (b"x-next-cursor", cursor.encode())]
            await self._respond(status, body, headers if cursor else headers[:1])
            return
        if route.is_http_body:
            await self._respond(status, response.data, [(b"content-type", response.content_type.encode())])
            return
        body = await beside_the_loop(replies.json_body, route, response, size=replies.work_of(response))
        await self._respond(status, body, shared=shared)

    async def _stream(self, route: Route, stream: Callable[..., Awaitable[None]], request: Any) -> None:
        accept = self.headers.get("accept", "")
        self.sse = "text/event-stream" in accept or (
            route.rpc in compat.SSE_BY_DEFAULT and "application/x-ndjson" not in accept
        )
        content_type = b"text/event-stream" if self.sse else b"application/x-ndjson"

        async def send(response: Any) -> None:
            if not self.started:
                await self._start(route.rules.success_code, [(b"content-type", content_type)])
            part = compat.sse_frames(response) if self.sse else replies.json_body(route, response) + b"\n"
            await self.send({"type": "http.response.body", "body": part, "more_body": True})

        await stream(request, self.context, send, None)
        if not self.started:
            await self._start(route.rules.success_code, [(b"content-type", content_type)])
        await self.send({"type": "http.response.body", "body": b""})

    async def _unless_gone(self, work: Awaitable[Any]) -> Any:
        """Runs ``work``, and cancels it if the client disconnects."""
        task = asyncio.current_task()
        assert task is not None
        gone = False

        def leave(_: object) -> None:
            nonlocal gone
            if not watching.cancelled():
                gone = True
                task.cancel()

        watching = asyncio.ensure_future(self._disconnect())
        watching.add_done_callback(leave)
        try:
            return await work
        except asyncio.CancelledError:
            if gone and not task.uncancel():
                raise ConnectionResetError("the client disconnected") from None
            raise
        finally:
            watching.remove_done_callback(leave)
            watching.cancel()

    async def _disconnect(self) -> None:
        # Until the body is read, messages belong to its reader.
        if not self.body_is_read:
            self.body_read = asyncio.Event()
            await self.body_read.wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def _options(self, verbs: list[str]) -> None:
        await self._start(204, self.needs.cors.preflight(self.headers, verbs))
        await self.send({"type": "http.response.body", "body": b""})

    async def refuse(self, error: SidecarError) -> None:
        body = replies.error_body(error, self.request_id)
        if self.started:
            part = compat.sse_error(body) if self.sse else body + b"\n"
            await self.send({"type": "http.response.body", "body": part})
            return
        headers: HeaderList = []
        if error.kind is Kind.UNAUTHENTICATED:
            headers.append((b"www-authenticate", b'Bearer realm="cco-sidecar"'))
        if error.retry_after_seconds is not None:
            headers.append((b"retry-after", str(max(1, round(error.retry_after_seconds))).encode()))
        if error.kind is Kind.METHOD_NOT_ALLOWED:
            headers.append((b"allow", ", ".join(error.details["allowed"]).encode()))
        if error.kind is Kind.PAYLOAD_TOO_LARGE:
            headers.append((b"connection", b"close"))
            await self._respond(error.kind.http_status, body, headers, still_receiving=not self.body_received)
            return
        await self._respond(error.kind.http_status, body, headers)

    async def _respond(
        self,
        status: int,
        body: bytes,
        headers: HeaderList | None = None,
        shared: Encoded | None = None,
        *,
        still_receiving: bool = False,
    ) -> None:
        """Sends a response. With ``still_receiving``, the client may still be sending, and may read only afterwards."""
        given = headers or []
        own = [] if any(name == b"content-type" for name, _ in given) else [(b"content-type", _JSON)]
        out = [*own, (b"vary", b"accept-encoding, origin"), *given]
        if len(body) >= replies.GZIP_FROM_BYTES and requests.accepts_gzip(self.headers):
            body = await replies.gzipped(body, shared)
            out.append((b"content-encoding", b"gzip"))
        await self._respond_at_once(status, out, body, still_receiving=still_receiving)

    async def _respond_with(self, document: Document) -> None:
        body, headers = document.body, [(b"content-type", document.content_type), (b"vary", b"accept-encoding, origin")]
        if len(body) >= replies.GZIP_FROM_BYTES and requests.accepts_gzip(self.headers):
            body = await document.gzipped()
            headers.append((b"content-encoding", b"gzip"))
        await self._respond_at_once(200, headers, body, policy=document.policy)

    async def _respond_at_once(
        self,
        status: int,
        headers: HeaderList,
        body: bytes,
        *,
        policy: bytes | None = None,
        still_receiving: bool = False,
    ) -> None:
        """Sends a response whose length is known. ``policy``: its Content-Security-Policy, if it is not the usual."""
        out = [*headers, (b"content-length", str(len(body)).encode())]
        content = b"" if self.verb == "HEAD" else body
        if self.cycle is not None and not still_receiving:
            head = b"".join([b"%b: %b\r\n" % header for header in self._headers(out)])
            security = _SECURITY_LINES if policy is None else b"".join(map(_line, _security(policy)))
            if self.cycle.respond(status, head + security, content):
                self.started = True
                return
        await self._start(status, out, policy)
        # Send in parts, so that a client that does not read fills the socket buffer with no more than one part. They
        # are views, because many clients may be sent the same body.
        whole = memoryview(content)
        last = 0 if still_receiving or not content else (len(content) - 1) // _PART_BYTES * _PART_BYTES
        for at in range(0, len(content) if still_receiving else last, _PART_BYTES):
            part = whole[at : at + _PART_BYTES]
            await self._send_in_time({"type": "http.response.body", "body": part, "more_body": True})
        if still_receiving:
            await self.needs.discards.body(self.receive)
        await self._send_in_time({"type": "http.response.body", "body": b"" if still_receiving else whole[last:]})

    async def _send_in_time(self, message: dict[str, Any]) -> None:
        """Sends a part of a response, and gives up on a client that does not read."""
        task = asyncio.current_task()
        assert task is not None
        late = False

        def give_up() -> None:
            nonlocal late
            late = task.cancel()

        # Not `asyncio.timeout`, which costs as much as the rest of a response.
        timer = asyncio.get_running_loop().call_later(_UNREAD_SECONDS, give_up)
        try:
            await self.send(message)
        except asyncio.CancelledError:
            if late and not task.uncancel():
                raise ConnectionResetError("the client does not read the response") from None
            raise
        finally:
            timer.cancel()

    async def _start(self, status: int, headers: HeaderList, policy: bytes | None = None) -> None:
        self.started = True
        out = [*self._headers(headers), *(_SECURITY if policy is None else _security(policy))]
        await self.send({"type": "http.response.start", "status": status, "headers": out})

    def _headers(self, headers: HeaderList) -> HeaderList:
        """Returns all headers of a response, except _SECURITY."""
        own = [(key.encode(), value.encode()) for key, value in self.context.headers() if key != "x-request-id"]
        own.append((b"x-request-id", self.request_id.encode()))
        return [*headers, *own, *self.needs.cors.headers(self.headers)]


def _security(policy: bytes) -> HeaderList:
    return [(name, policy if name == _POLICY else value) for name, value in _SECURITY]
