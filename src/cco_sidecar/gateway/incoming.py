"""What a request brings, over HTTP or as the opening of a WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from cco_sidecar.core import ids
from cco_sidecar.gateway import requests
from cco_sidecar.gateway.cors import Cors
from cco_sidecar.gateway.documents import Documents
from cco_sidecar.gateway.routes import Routes
from cco_sidecar.rpc.chain import Handlers
from cco_sidecar.rpc.local import LocalContext

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Surroundings(NamedTuple):
    """What all requests share."""

    routes: Routes
    handlers: Handlers
    documents: Documents
    cors: Cors
    discards: requests.Discards


class Incoming:
    """A request with its path and headers, and the context for the chain."""

    def __init__(self, around: Surroundings, scope: Mapping[str, Any], receive: requests.Receive, send: Send) -> None:
        self.around = around
        self.path: str = scope["raw_path"].decode("latin-1") or "/"
        self.query: bytes = scope["query_string"]
        self.header_list = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        self.headers = dict(self.header_list)
        client = scope["client"] or ("", 0)
        family = "ipv6:[%s]:%s" if ":" in client[0] else "ipv4:%s:%s"
        given = self.headers.get("x-request-id", "")
        self.request_id = given if ids.is_id(given) else ids.request_id()
        metadata = [*requests.metadata_of(self.header_list), ("x-request-id", self.request_id)]
        self.context = LocalContext(metadata, family % tuple(client))
        self._receive = receive
        self._send = send

    async def send(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except (RuntimeError, OSError) as problem:
            raise ConnectionResetError("the client disconnected") from problem
