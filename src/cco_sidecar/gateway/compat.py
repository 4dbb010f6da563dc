"""Where the documents ask for more than the descriptors say; each with the line that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.encoded import Encoded
from orchestra.v1.event_service_pb2 import SubscribeResponse
from orchestra.v1.system_service_pb2 import HEALTH_STATUS_UNHEALTHY, GetHealthResponse

# Contract, section 1: "GET /api/events/stream/{event_type} as server-sent events".
SSE_BY_DEFAULT = frozenset({"/orchestra.v1.EventService/Subscribe"})


def status_of(response: Message | Encoded, success_code: int) -> int:
    """The HTTP status of a success. Contract, section 1: "GET /health (no token): 200, 503 when unhealthy"."""
    if isinstance(response, GetHealthResponse) and response.status == HEALTH_STATUS_UNHEALTHY:
        return 503
    return success_code


def sse_frames(response: Message | Encoded) -> bytes:
    """Server-sent events (WHATWG HTML, section 9.2) of one stream response."""
    message_type = response.message_type if isinstance(response, Encoded) else type(response)
    frames: Callable[[Any], Iterator[bytes]] = _FRAMES.get(message_type, _plain)
    if not isinstance(response, Encoded) or response.tail is not None:
        return b"".join(frames(response.message() if isinstance(response, Encoded) else response))
    shared = response.memo.get("sse")
    if shared is None:
        shared = response.memo["sse"] = b"".join(frames(response.message()))
    return shared


def _plain(message: Message) -> Iterator[bytes]:
    yield b"data: " + codec.to_json(message) + b"\n\n"


def _events(batch: SubscribeResponse) -> Iterator[bytes]:
    """One frame an event, so that an EventSource's listeners get its type and resume by `Last-Event-ID`."""
    if batch.HasField("gap"):
        yield b"event: gap\ndata: " + codec.to_json(batch.gap) + b"\n\n"
    for event in batch.events:
        head = f"id: {event.event_id}\nevent: {event.event_type}\ndata: "
        yield head.encode() + codec.to_json(event) + b"\n\n"
    # A frame without data moves the last event id and is not dispatched: the cursor, also when idle.
    yield f": cursor\nid: {batch.cursor}\n\n".encode()


_FRAMES: dict[type[Message], Callable[[Any], Iterator[bytes]]] = {SubscribeResponse: _events}


def sse_error(body: bytes) -> bytes:
    return b"event: error\ndata: " + body + b"\n\n"


def resume(request: Message, headers: Mapping[str, str]) -> None:
    """`Last-Event-ID`, which an EventSource sends when it reconnects, beats the `since` of its first request."""
    last = headers.get("last-event-id")
    if last:
        request.since = last  # type: ignore[attr-defined]
