"""Calls the services in process, through the same chain as any other call, for one project."""

from __future__ import annotations

from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message

from cco_sidecar.auth.tokens import Tokens
from cco_sidecar.core import ids
from cco_sidecar.core.services import PACKAGE
from cco_sidecar.rpc.chain import Handlers, Send
from cco_sidecar.rpc.local import LocalContext

M = TypeVar("M", bound=Message)

_PEER = "unix:"


class Calls:
    """The operator's calls about sessions, blueprints and documents. What is not offered here cannot be called."""

    def __init__(self, handlers: Handlers, tokens: Tokens, project: str) -> None:
        self._handlers = handlers
        self._tokens = tokens
        self.project = project

    async def call(self, rpc: str, request: Message, answer: type[M]) -> M:
        """Calls ``Service/Method``. A request with a field ``project_id`` is about the project. Raises SidecarError."""
        context = self._context()
        handler = self._handlers[f"/{PACKAGE}.{rpc}"]
        assert handler.unary is not None
        try:
            found = await handler.unary(self._of_project(request), context)
        except grpc.aio.AbortError:
            raise context.error() from None
        assert isinstance(found, answer)
        return found

    async def stream(self, rpc: str, request: Message, send: Send) -> None:
        """The same for a method that streams; ``send`` gets each response."""
        context = self._context()
        handler = self._handlers[f"/{PACKAGE}.{rpc}"]
        assert handler.stream is not None
        try:
            await handler.stream(self._of_project(request), context, send, None)
        except grpc.aio.AbortError:
            raise context.error() from None

    def _of_project(self, request: Any) -> Any:
        if "project_id" in request.DESCRIPTOR.fields_by_name:
            request.project_id = self.project
        return request

    def _context(self) -> LocalContext:
        token = self._tokens.mint_operator().token
        metadata = [("authorization", f"Bearer {token}"), ("x-request-id", ids.request_id())]
        return LocalContext(metadata, _PEER)
