"""Documented behaviour that the descriptors cannot express. Each case cites the line of the contract it implements."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import invalid_request
from orchestra.v1.event_service_pb2 import PublishEventRequest, SubscribeResponse
from orchestra.v1.result_service_pb2 import AgentResult, CreateResultRequest
from orchestra.v1.system_service_pb2 import HEALTH_STATUS_UNHEALTHY, GetHealthResponse

# Contract, section 1: "GET /api/events/stream/{event_type} as server-sent events".
SSE_BY_DEFAULT = frozenset({"/orchestra.v1.EventService/Subscribe"})


_RESULT_FIELDS = frozenset(AgentResult.DESCRIPTOR.fields_by_name) - {"extra"}
_STORE_FIELDS = frozenset(CreateResultRequest.DESCRIPTOR.fields_by_name)
_PUBLISH_FIELDS = frozenset(PublishEventRequest.DESCRIPTOR.fields_by_name)
# The RPCs whose bodies have alternative documented forms.
CREATE_RESULT = "/orchestra.v1.ResultService/CreateResult"
PUBLISH_EVENT = "/orchestra.v1.EventService/PublishEvent"
# Contract, section 1.3.
STANDARD_TOPICS = frozenset(
    (
        "architecture",
        "implementation",
        "testing",
        "security",
        "deployment",
        "documentation",
        "error",
        "coordination",
        "system",
    )
)
# The similarity from which an unknown key is rejected as a typo of a known one.
_NEAR = 0.8


def documented_body(rpc: str, body: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    """Converts a JSON body from any documented form to that of the RPC's request.

    ``variables`` are the path variables; they may be changed in place. Raises SidecarError (REQ_001).
    """
    if rpc == CREATE_RESULT:
        return _result_body(body)
    if rpc == PUBLISH_EVENT:
        return _publish_body(body, variables)
    return body


def _result_body(body: dict[str, Any]) -> dict[str, Any]:
    """Contract, section 8, decision 1: result keys may be given at the top level."""
    flat = sorted(_RESULT_FIELDS & body.keys())
    if "result" in body:
        if flat:
            raise invalid_request(
                f"'{flat[0]}' is given next to 'result': put the result's keys in 'result', or all at the top level",
                field=flat[0],
            )
        return body
    _refuse_typos(body, _STORE_FIELDS | _RESULT_FIELDS)
    if not flat:
        return body
    own = {key: value for key, value in body.items() if key in _STORE_FIELDS}
    return own | {"result": {key: value for key, value in body.items() if key not in _STORE_FIELDS}}


def _publish_body(body: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    """Contract, section 8, decision 2: the path may end in a standard topic, and data keys may be at the top level."""
    named = body.get("event_type")
    in_path = variables.get("event_type", "")
    if in_path == "publish" and isinstance(body.get("events"), list):
        raise invalid_request("to publish several events, use 'POST /api/events:publish'", field="events")
    if in_path in STANDARD_TOPICS and isinstance(named, str) and named != in_path and not body.get("topic"):
        body = body | {"topic": variables.pop("event_type")}
    loose = {key: value for key, value in body.items() if key not in _PUBLISH_FIELDS}
    if not loose or "data" in body:
        # The decoder rejects unknown keys with a hint.
        return body
    _refuse_typos(loose, _PUBLISH_FIELDS)
    return {key: value for key, value in body.items() if key not in loose} | {"data": loose}


def _refuse_typos(body: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in body:
        near = difflib.get_close_matches(key, known, n=1, cutoff=_NEAR)
        if key not in known and near:
            raise invalid_request(f"the body has no field '{key}'; did you mean '{near[0]}'?", field=key)


def status_of(response: Message | Encoded, success_code: int) -> int:
    """Returns the HTTP status of a success. Contract, section 1: "GET /health (no token): 200, 503 when unhealthy"."""
    if isinstance(response, GetHealthResponse) and response.status == HEALTH_STATUS_UNHEALTHY:
        return 503
    return success_code


def sse_frames(response: Message | Encoded) -> bytes:
    """Encodes a stream response as server-sent events (WHATWG HTML, section 9.2)."""
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
    """Writes one frame per event, so that an EventSource gets its type and can resume by `Last-Event-ID`."""
    if batch.HasField("gap"):
        yield b"event: gap\ndata: " + codec.to_json(batch.gap) + b"\n\n"
    for event in batch.events:
        head = f"id: {event.event_id}\nevent: {event.event_type}\ndata: "
        yield head.encode() + codec.to_json(event) + b"\n\n"
    # A frame without data sets the last event id without dispatching an event. It carries the cursor, even when idle.
    yield f": cursor\nid: {batch.cursor}\n\n".encode()


_FRAMES: dict[type[Message], Callable[[Any], Iterator[bytes]]] = {SubscribeResponse: _events}


def sse_error(body: bytes) -> bytes:
    return b"event: error\ndata: " + body + b"\n\n"


def resume(request: Message, headers: Mapping[str, str]) -> None:
    """Overrides `since` with `Last-Event-ID`, which an EventSource sends when it reconnects."""
    last = headers.get("last-event-id")
    if last:
        request.since = last  # type: ignore[attr-defined]
