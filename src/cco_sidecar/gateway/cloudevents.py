"""CloudEvents 1.0 over HTTP: structured, binary and batched (CloudEvents HTTP Protocol Binding 1.0.2)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from cco_sidecar.core import codec
from cco_sidecar.core.cloudevents import FIELDS, KEPT, STRUCTURED, VERSION
from cco_sidecar.core.errors import Kind, SidecarError, invalid_request

BATCHED = "application/cloudevents-batch+json"
# The RPCs whose events can be answered as CloudEvents.
LISTS = frozenset({"/orchestra.v1.EventService/ListEvents", "/orchestra.v1.EventService/WaitEvents"})
_BINARY = "ce-"
_BINARY_MARK = "ce-specversion"
_NAME = re.compile(r"[a-z0-9]{1,64}")
_JSON = re.compile(r"application/([\w.\-]+\+)?json|text/json", re.IGNORECASE)
_REQUIRED = ("id", "source", "type")
_ESCAPED = re.compile(r"\\(.)")
_MAX_EXTENSIONS = 32
_MAX_KEY = 128


def is_batch(headers: Mapping[str, str]) -> bool:
    return _media_type(headers.get("content-type", "")) == BATCHED


def is_binary(headers: Mapping[str, str]) -> bool:
    return _BINARY_MARK in headers


def is_one(headers: Mapping[str, str]) -> bool:
    return is_binary(headers) or _media_type(headers.get("content-type", "")) == STRUCTURED


def wants_batch(headers: Mapping[str, str]) -> bool:
    """Reports whether a list of events is to be answered with CloudEvents."""
    return any(_media_type(each) == BATCHED for each in headers.get("accept", "").split(","))


def binary_attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    """Returns the attributes that are headers. Raises SidecarError (REQ_005)."""
    given = headers.get("content-type", "application/json")
    if not _JSON.fullmatch(_media_type(given)):
        raise SidecarError(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            "REQ_005",
            f"the data of a CloudEvent must be JSON here; its content type is '{given[:100]}'",
        )
    attributes = {name.removeprefix(_BINARY): value for name, value in headers.items() if name.startswith(_BINARY)}
    return {name: _decoded(name, value) for name, value in attributes.items()}


def _decoded(name: str, value: str) -> str:
    """Decodes a header's value (HTTP Protocol Binding 1.0.2, section 3.1.3.2). Raises SidecarError (REQ_001)."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise invalid_request(f"{_BINARY}{name}: it is not percent-encoded UTF-8", field=name) from None


def request_of(event: Mapping[str, Any], where: str = "the CloudEvent") -> dict[str, Any]:
    """Returns the body of PublishEventRequest for a CloudEvent. Raises SidecarError (REQ_001) that names the
    attribute."""
    # Null means the same as nothing (JSON Event Format 1.0.2, section 2.2).
    event = {name: value for name, value in event.items() if value is not None}
    version = event.get("specversion")
    if version != VERSION:
        raise invalid_request(f"{where}: specversion must be '{VERSION}', not {version!r}", field="specversion")
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            raise invalid_request(f"{where}: '{name}' is missing; it must be a text that is not empty", field=name)
    if "data_base64" in event:
        raise invalid_request(f"{where}: data must be a JSON object, not data_base64", field="data_base64")
    data = event.get("data")
    if data is not None and not isinstance(data, dict):
        raise invalid_request(f"{where}: data must be a JSON object, not {type(data).__name__}", field="data")
    content_type = event.get("datacontenttype", "application/json")
    if not isinstance(content_type, str) or not _JSON.fullmatch(_media_type(content_type)):
        raise invalid_request(f"{where}: datacontenttype must be application/json", field="datacontenttype")
    known = {*_REQUIRED, *KEPT, *FIELDS, "specversion", "data", "datacontenttype"}
    extensions = {name: _text(name, value, where) for name, value in event.items() if name not in known}
    if len(extensions) > _MAX_EXTENSIONS:
        raise invalid_request(f"{where}: {len(extensions)} extensions; at most {_MAX_EXTENSIONS} are kept")
    if "time" in event:
        codec.parse_rfc3339(_text("time", event["time"], where), "time")
    kept = {name: _text(name, event[name], where) for name in ("id", "source", *KEPT) if name in event}
    body = {
        "event_type": event["type"],
        "data": data or {},
        "idempotency_key": _key(event["source"], event["id"]),
        "cloud_event": kept | {"extensions": extensions},
    }
    return body | {ours: _text(name, event[name], where) for name, ours in FIELDS.items() if name in event}


def _text(name: str, value: Any, where: str) -> str:
    """Returns an attribute's value as text (CloudEvents 1.0.2, section "Type System")."""
    if not _NAME.fullmatch(name):
        text = f"{where}: '{name[:100]}' is no name of an attribute: use lower-case letters and digits"
        raise invalid_request(text, field=name[:100])
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise invalid_request(f"{where}: '{name}' must be a text, a whole number or true or false", field=name)


def _key(source: str, event_id: str) -> str:
    """Whoever sends an event again sends the same source and id."""
    key = f"{source} {event_id}"
    return key if len(key) <= _MAX_KEY else hashlib.sha256(key.encode()).hexdigest()


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()
