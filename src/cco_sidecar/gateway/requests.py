"""Converts HTTP requests to request messages, from path, query and body."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
from google.protobuf.message import Message

from cco_sidecar.core import codec
from cco_sidecar.core.bounds import MAX_ELEMENTS, check_json, too_large, too_many_elements
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request
from cco_sidecar.gateway import cloudevents, compat
from cco_sidecar.gateway.routes import Route
from cco_sidecar.rpc.call import HOST, PROXY_HEADERS

_DISCARD_SECONDS = 60.0
_METADATA = "grpc-metadata-"
_OF_HTTP = frozenset({"authorization", "traceparent", "tracestate", "user-agent"})
_DISCARDED_BYTES = 64 * 2**20
_MAX_DISCARDS = 8
_DISCARDED_BYTES_PER_SECOND = 32 * 2**20
_JSON = re.compile(r"application/([\w.\-]+\+)?json|application/x-ndjson", re.IGNORECASE)
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Headers = Mapping[str, str]


async def read_body(receive: Receive, headers: Headers, most: int) -> bytes:
    """Reads the body. Raises SidecarError (REQ_004) if it exceeds ``most`` bytes, without reading the rest."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise too_large("the body", int(declared), most)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client disconnected while sending")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_large("the body", size, most)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


class Discards:
    """Reads and discards rejected bodies for a while.

    A client that is still sending then gets the response instead of a connection reset. At most eight bodies are
    discarded at a time, and they share one rate limit, so that other calls are not slowed down.
    """

    def __init__(self) -> None:
        self._open = 0

    async def body(self, receive: Receive) -> None:
        if self._open >= _MAX_DISCARDS:
            return
        left = _DISCARDED_BYTES
        self._open += 1
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while left > 0:
                    message = await receive()
                    size = len(message.get("body", b""))
                    left -= size
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
                    await asyncio.sleep(size * self._open / _DISCARDED_BYTES_PER_SECOND)
        except TimeoutError:
            return
        finally:
            self._open -= 1


def request_of(route: Route, variables: dict[str, str], query: bytes, body: bytes, headers: Headers) -> Message:
    """Builds the request. Raises SidecarError (REQ_001, REQ_004, REQ_005) that names the invalid parameter."""
    if route.rpc == compat.PUBLISH_EVENT and cloudevents.is_one(headers):
        value = _cloud_event(body, headers)
    else:
        value = _json_object(body, headers) if route.body else {}
    fields = route.request_type.DESCRIPTOR.fields_by_name
    if "idempotency_key" in fields and (key := headers.get("idempotency-key")):
        # An Internet-Draft makes it a quoted string; most send it bare.
        _put(value, "idempotency_key", key.strip('"'), "the Idempotency-Key header")
    # `*` is any revision: the document must be there, which is so anyway.
    if "expected_revision" in fields and (match := headers.get("if-match", "").strip()) not in ("", "*"):
        _put(value, "expected_revision", _revision(match), "the If-Match header")
    if value:
        variables = dict(variables)
        value = compat.documented_body(route.rpc, value, variables)
    for name, text in variables.items():
        given: Any = text.split(",") if fields[name].is_repeated else text
        _put(value, name, given, "the path")
    if query:
        for name, item in codec.from_query(route.request_type, _pairs(query)).items():
            _put(value, name, item, "the query")
    return codec.from_dict(route.request_type, value)


class Line(NamedTuple):
    """A line of a body and its number, from 1."""

    number: int
    data: bytes


def request_lines(body: bytes, headers: Headers) -> list[Line]:
    """Returns the non-empty lines of a client stream. Raises SidecarError (REQ_001, REQ_004, REQ_005)."""
    if cloudevents.is_batch(headers):
        return [Line(1, _cloud_events(body))]
    _check_content_type(headers)
    if not body.strip():
        raise invalid_request("the body is empty; send one JSON object per line")
    check_json(body)
    if (count := body.count(b"\n") + body.count(b"\r")) > MAX_ELEMENTS:
        raise too_many_elements("the body", count)
    return [Line(number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip()]


def request_of_line(route: Route, number: int, data: bytes) -> Message:
    """Builds the request of a line. Raises SidecarError (REQ_001, REQ_004) that names the line."""
    return codec.from_dict(route.request_type, _parse(data, f"line {number} of the body"))


def accepts_gzip(headers: Headers) -> bool:
    """Reports whether the client accepts gzip (RFC 9110, section 12.5.3)."""
    for part in headers.get("accept-encoding", "").split(","):
        coding, _, weight = part.strip().partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def deadline_of(headers: Headers) -> float | None:
    """Returns the ``Grpc-Timeout`` header in seconds (gRPC over HTTP/2, section Requests); None without one.

    Raises SidecarError (REQ_001).
    """
    text = headers.get("grpc-timeout")
    if text is None:
        return None
    match = _TIMEOUT.fullmatch(text)
    if match is None:
        raise invalid_request(
            f"invalid Grpc-Timeout {text[:40]!r}: expected at most 8 digits and one of H, M, S, m, u, n",
            field="grpc-timeout",
        )
    return int(match.group(1)) * _UNITS[match.group(2)]


def metadata_of(headers: list[tuple[str, str]]) -> list[tuple[str, str | bytes]]:
    """Returns the call metadata: the headers that the chain reads, and ``Grpc-Metadata-*`` headers without the prefix.

    A prefixed name is dropped if it stands for a header that the chain itself reads.
    """
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name.startswith(_METADATA):
            inner = name.removeprefix(_METADATA)
            if (
                inner not in _OF_HTTP
                and inner not in PROXY_HEADERS
                and not inner.startswith(("x-forwarded-", "x-cco-sidecar-", ":"))
            ):
                found.append((inner, value))
        elif name == "host":
            found.append((HOST, value))
        elif name in _OF_HTTP or name in PROXY_HEADERS or name.startswith("x-forwarded-"):
            found.append((name, value))
    return found


def _put(value: dict[str, Any], name: str, item: Any, where: str) -> None:
    if name in value and value[name] is not None and value[name] != item:
        raise invalid_request(
            f"{name}: {where} has {item!r} but the body has {value[name]!r}; send one, or the same value in both",
            field=name,
        )
    value[name] = item


def _revision(etag: str) -> int:
    """Reads the revision of a document in `If-Match` (RFC 9110, section 13.1.1)."""
    text = etag.strip().removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise invalid_request(f'If-Match: {etag!r} is not a revision such as "3"', field="expected_revision")
    return int(text)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except (UnicodeDecodeError, ValueError):
        raise invalid_request("invalid query string: expected percent-encoded UTF-8") from None


def _json_object(body: bytes, headers: Headers) -> dict[str, Any]:
    if not body.strip():
        return {}
    _check_content_type(headers)
    return _parse(body, "the body")


def _cloud_event(body: bytes, headers: Headers) -> dict[str, Any]:
    if cloudevents.is_binary(headers):
        event = cloudevents.binary_attributes(headers)
        if body.strip():
            event["data"] = _loaded(body, "the body")
        return cloudevents.request_of(event)
    return cloudevents.request_of(_parse(body, "the body"))


def _cloud_events(body: bytes) -> bytes:
    """Converts a batch of CloudEvents to a line."""
    events = _loaded(body, "the body")
    if not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        raise invalid_request("the body must be a JSON array of CloudEvents")
    made = [cloudevents.request_of(each, f"CloudEvent {number}") for number, each in enumerate(events, 1)]
    return orjson.dumps({"events": made})


def _parse(text: bytes, where: str) -> dict[str, Any]:
    value = _loaded(text, where)
    if not isinstance(value, dict):
        raise invalid_request(f"{where} must be a JSON object")
    return value


def _loaded(text: bytes, where: str) -> Any:
    check_json(text, where)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise invalid_request(
            f"{where} is not valid JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}"
        ) from None


def _check_content_type(headers: Headers) -> None:
    given = headers.get("content-type")
    if given is not None and not _JSON.fullmatch(given.split(";")[0].strip()):
        raise SidecarError(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            "REQ_005",
            f"unsupported content type '{given[:100]}'; send 'Content-Type: application/json'",
        )
