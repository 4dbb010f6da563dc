"""Streams over WebSocket (RFC 6455): a GET path that streams, each message as a text frame with the JSON of a line.

A browser cannot set headers here, so the token may also be offered as a subprotocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request
from cco_sidecar.gateway import replies, requests
from cco_sidecar.gateway.incoming import Dependencies, Incoming, Send
from cco_sidecar.gateway.routes import Route
from cco_sidecar.rpc.interceptors.receive import Deferred
from orchestra.v1 import options_pb2

PROTOCOL = "cco.v1"
# Before the token, among the subprotocols that a client offers.
TOKEN_PREFIX = "cco.token."
_AUTHORIZATION = b"authorization"
_OFFERED = b"sec-websocket-protocol"
_NORMAL, _UNSUPPORTED, _POLICY, _ERROR, _TRY_AGAIN = 1000, 1003, 1008, 1011, 1013
_CLOSE_CODES = {Kind.INTERNAL: _ERROR, Kind.UNAVAILABLE: _TRY_AGAIN, Kind.RATE_LIMITED: _TRY_AGAIN}


class WebSocket(Incoming):
    """One connection: accepted with the first message of its stream, refused with the same body as over HTTP."""

    def __init__(self, needs: Dependencies, scope: Mapping[str, Any], receive: requests.Receive, send: Send) -> None:
        tokens = [each for each in scope["subprotocols"] if each.startswith(TOKEN_PREFIX)]
        # What was offered is not passed on: it may be a token.
        headers = [(name, value) for name, value in scope["headers"] if name != _OFFERED]
        if tokens and all(name != _AUTHORIZATION for name, _ in headers):
            headers.append((_AUTHORIZATION, f"Bearer {tokens[0].removeprefix(TOKEN_PREFIX)}".encode("latin-1")))
        super().__init__(needs, {**scope, "headers": headers}, receive, send)
        self._protocol = PROTOCOL if PROTOCOL in scope["subprotocols"] else None
        self._accepted = False

    async def run(self) -> None:
        """Serves the connection to its end."""
        await self._receive()
        await self.serve(self._unless_closed(self._answer()))

    async def _answer(self) -> None:
        self.check_origin()
        route, variables = self.needs.routes.match("GET", self.path)
        if route.rules.mode != options_pb2.MODE_STREAM:
            raise invalid_request(f"'{self.path[:200]}' is no stream; a WebSocket is for paths that stream events")
        request = Deferred(None, partial(self.decoded, route, variables))
        stream = self.needs.handlers[route.rpc].stream
        assert stream is not None

        async def send(response: Any) -> None:
            await self._accept()
            await self.send({"type": "websocket.send", "text": _text(route, response)})

        await stream(request, self.context, send, None)
        await self._accept()
        await self.send({"type": "websocket.close", "code": _NORMAL})

    async def _accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            headers = [(b"x-request-id", self.request_id.encode())]
            await self.send({"type": "websocket.accept", "subprotocol": self._protocol, "headers": headers})

    async def refuse(self, error: SidecarError) -> None:
        body = replies.error_body(error, self.request_id)
        if self._accepted:
            await self.send({"type": "websocket.send", "text": body.decode()})
            await self.send({"type": "websocket.close", "code": _CLOSE_CODES.get(error.kind, _POLICY)})
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", self.request_id.encode()),
            (b"connection", b"close"),
        ]
        status = error.kind.http_status
        await self.send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await self.send({"type": "websocket.http.response.body", "body": body})

    async def _unless_closed(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs ``work``, and cancels it when the client closes the connection or sends a message."""
        task = asyncio.ensure_future(work)
        heard = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({task, heard}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return
        finally:
            for each in (task, heard):
                each.cancel()
            await asyncio.gather(task, heard, return_exceptions=True)
        if heard.result()["type"] == "websocket.receive":
            await self._accept()
            reason = "messages to a stream are not supported"
            await self.send({"type": "websocket.close", "code": _UNSUPPORTED, "reason": reason})


def _text(route: Route, response: Any) -> str:
    """The JSON of a message, decoded once for all clients that get it."""
    if not isinstance(response, Encoded) or response.tail is not None:
        return replies.json_body(route, response).decode()
    text: str | None = response.memo.get("text")
    if text is None:
        text = response.memo["text"] = replies.json_body(route, response).decode()
    return text
