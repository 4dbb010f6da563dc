"""The in-process transport: calls the same handlers without a network hop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import status_pb2

from cco_sidecar.core import ids
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.services import PACKAGE
from cco_sidecar.core.status import from_status
from cco_sidecar.rpc.chain import Handlers, Send
from cco_sidecar.rpc.codes import STATUS_DETAILS

# ServicerContext is generic in the type stubs only.
if TYPE_CHECKING:
    _ServicerContext = grpc.aio.ServicerContext[Any, Any]
else:
    _ServicerContext = grpc.aio.ServicerContext

Metadata = Sequence[tuple[str, str | bytes]]
M = TypeVar("M", bound=Message)

# A caller on this machine.
_PEER = "unix:"


class LocalContext(_ServicerContext):
    """The servicer context of a call that did not arrive over gRPC. ``peer`` has gRPC's format."""

    def __init__(self, metadata: Metadata, peer: str) -> None:
        self._invocation_metadata = metadata
        self._peer = peer
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()

    def invocation_metadata(self) -> Any:
        return self._invocation_metadata

    def peer(self) -> str:
        return self._peer

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._trailing = trailing_metadata

    def trailing_metadata(self) -> Any:
        return self._trailing

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> Any:
        self._code, self._details = code, details
        self._trailing = trailing_metadata or self._trailing
        raise grpc.aio.AbortError(details)

    async def abort_with_status(self, status: grpc.Status) -> Any:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def code(self) -> Any:
        return self._code

    def details(self) -> str:
        return self._details

    def error(self) -> SidecarError:
        """Returns the error that the call was aborted with."""
        for key, value in self._trailing:
            if key == STATUS_DETAILS and isinstance(value, bytes):
                return from_status(status_pb2.Status.FromString(value))
        return SidecarError(Kind.INTERNAL, "INT_001", self._details or "internal error")

    def headers(self) -> list[tuple[str, str]]:
        """Returns the text entries of the trailing metadata."""
        return [(key, value) for key, value in self._trailing if isinstance(value, str)]

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Does nothing: the gateway compresses."""

    def disable_next_message_compression(self) -> None:
        """Does nothing: the gateway compresses."""

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Does nothing: HTTP has one set of headers, filled from the trailing metadata."""

    async def read(self) -> Any:
        raise NotImplementedError("in-process handlers iterate over their requests")

    async def write(self, message: Any) -> None:
        raise NotImplementedError("in-process handlers yield their responses")

    def peer_identities(self) -> Any:
        return None

    def peer_identity_key(self) -> Any:
        return None

    def auth_context(self) -> Any:
        return {}


class LocalCalls:
    """Calls in process, as the owner of an ``Authorization`` header."""

    def __init__(self, handlers: Handlers, authorization: str) -> None:
        self._handlers = handlers
        self._authorization = authorization

    async def call(self, rpc: str, request: Message, answer: type[M]) -> M:
        """Calls ``Service/Method``. Raises SidecarError."""
        context = self._context()
        handler = self._handlers[f"/{PACKAGE}.{rpc}"]
        assert handler.unary is not None
        try:
            found = await handler.unary(request, context)
        except grpc.aio.AbortError:
            raise context.error() from None
        if isinstance(found, Encoded):
            found = found.message()
        assert isinstance(found, answer)
        return found

    async def stream(self, rpc: str, request: Message, send: Send) -> None:
        """The same for a method that streams; ``send`` gets each response."""
        context = self._context()
        handler = self._handlers[f"/{PACKAGE}.{rpc}"]
        assert handler.stream is not None
        try:
            await handler.stream(request, context, send, None)
        except grpc.aio.AbortError:
            raise context.error() from None

    def _context(self) -> LocalContext:
        return LocalContext([("authorization", self._authorization), ("x-request-id", ids.request_id())], _PEER)
