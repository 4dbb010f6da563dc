"""Generates the OpenAPI 3.1 document of the REST API from the descriptors and their comments.

``python -m cco_sidecar.gateway.openapi IMAGE`` writes it to stdout. IMAGE is a FileDescriptorSet with source
information (``buf build``).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from cco_sidecar import __version__
from cco_sidecar.auth.policy import max_request_bytes
from cco_sidecar.core import codec
from cco_sidecar.core.bounds import MAX_ELEMENTS
from cco_sidecar.core.errors import Kind
from cco_sidecar.core.ids import ID_PATTERN
from cco_sidecar.core.services import services
from cco_sidecar.gateway.compat import CREATE_RESULT, PUBLISH_EVENT, SSE_BY_DEFAULT
from cco_sidecar.gateway.routes import Route, routes_of
from cco_sidecar.gateway.schemas import Schemas, comments_of
from orchestra.v1 import options_pb2

_ERRORS = {
    400: "The request violates a rule (REQ_001), or an event or a filter is invalid (EVT_002).",
    401: "The token is missing, invalid (AUTH_001) or expired (AUTH_002).",
    403: "The token does not allow this (AUTH_003).",
    404: "It does not exist, or belongs to another project.",
    409: "The state does not allow this: already ended, answered, published (EVT_003), or there (CSM_002).",
    408: "The body was not received in time (REQ_007).",
    413: "The body is too large, or has too many elements (REQ_004).",
    415: "The body is not JSON (REQ_005).",
    429: "Too many calls; `Retry-After` says when to retry (RATE_001).",
    500: "The sidecar failed; its log has the cause under the request id.",
    503: "The sidecar is shutting down (EVT_001).",
    504: "The `Grpc-Timeout` was exceeded (REQ_006).",
}
_ERROR_SCHEMA = {
    "type": "object",
    "description": "Every error has this body.",
    "required": ["error", "message", "code", "details", "timestamp", "request_id"],
    "properties": {
        "error": {"type": "string", "enum": [kind.slug for kind in Kind]},
        "message": {"type": "string", "description": "What is wrong, where, and what was expected."},
        "code": {"type": "string", "pattern": "^[A-Z]{3,4}_[0-9]{3}$"},
        "details": {"type": "object"},
        "timestamp": {"type": "string", "format": "date-time"},
        "request_id": {"type": "string"},
    },
    "additionalProperties": False,
}

_JSON_VALUE = {
    "description": f"Any JSON value, nested at most {codec.MAX_DEPTH} levels; integers up to 2^53.",
    "anyOf": [
        {"type": ["string", "boolean", "null"]},
        {"type": "number", "minimum": -codec.MAX_EXACT, "maximum": codec.MAX_EXACT},
        {"type": "array", "items": {"$ref": "#/components/schemas/JsonValue"}},
        {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/JsonValue"}},
    ],
}

# A result with errors must also state its status.
_STATUS_OR_NO_ERRORS = [
    {"required": ["status"], "properties": {"status": {"type": "string"}}},
    {"properties": {"errors": {"anyOf": [{"type": "null"}, {"type": "array", "maxItems": 0}]}}},
]


class Document:
    """Builds the document. ``comments`` are the leading comments of the protos, by full name."""

    def __init__(self, comments: dict[str, str]) -> None:
        self._made = Schemas(comments, "#/components/schemas/")
        self._schemas = self._made.found
        self._schemas |= {"Error": _ERROR_SCHEMA, "JsonValue": _JSON_VALUE}

    def build(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for service in services():
            for number, route in enumerate(routes_of(service)):
                paths.setdefault(route.template, {})[route.verb.lower()] = self._operation(service, route, number)
        paths["/.well-known/jwks.json"] = {"get": _fixed("jwks", "The public keys of the tokens (RFC 7517).")}
        paths["/docs"] = {"get": _fixed("console", "A console for this API, in a browser.", "text/html")}
        paths["/openapi.json"] = {"get": _fixed("openapi", "This document.")}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Orchestration sidecar",
                "version": __version__,
                "description": "Context, events and results for teams of agents. The same services are served "
                "over gRPC (package orchestra.v1). Send a token as `Authorization: Bearer`: `cco token` prints that of "
                "the operator, and an agent finds its own in `JWT_TOKEN`.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "http://127.0.0.1:3001"}],
            "security": [{"bearer": []}],
            "tags": [{"name": s.name, "description": self._made.comment(s.full_name)} for s in services()],
            "paths": paths,
            "components": {
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
                "schemas": dict(sorted(self._schemas.items())),
            },
        }

    def _operation(self, service: ServiceDescriptor, route: Route, number: int) -> dict[str, Any]:
        comment = self._made.comment(route.method.full_name)
        same = [each for each in routes_of(service) if each.rpc == route.rpc]
        suffix = "" if same[0] == route else f"_{same.index(route) + 1}"
        operation: dict[str, Any] = {
            "operationId": f"{service.name}_{route.method.name}{suffix}",
            "tags": [service.name],
            "summary": re.split(r"(?<=[.:])\s", comment)[0],
            "description": comment,
            "parameters": list(self._parameters(route)),
            "responses": self._responses(route),
        }
        if route.body:
            content_type = "application/x-ndjson" if route.method.client_streaming else "application/json"
            in_path = {segment[1:-1] for segment in route.segments if segment.startswith("{")}
            schema = self._made.reference(route.method.input_type, "Input", frozenset(in_path))
            needed = route.method.client_streaming or "required" in self._schemas[schema["$ref"].rpartition("/")[2]]
            schema = self._other_forms(route.rpc, schema)
            operation["requestBody"] = {"required": needed, "content": {content_type: {"schema": schema}}}
        if route.rules.open == options_pb2.OPEN_ANYONE:
            operation["security"] = []
        elif route.rules.open == options_pb2.OPEN_LOOPBACK:
            operation["security"] = [{}, {"bearer": []}]
        return operation

    def _other_forms(self, rpc: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Adds the alternative documented forms of a body (``compat.documented_body``)."""
        whole = self._schemas[schema["$ref"].rpartition("/")[2]]
        if rpc == CREATE_RESULT:
            result = self._schemas["AgentResultInput"]
            result["anyOf"] = _STATUS_OR_NO_ERRORS
            keys = sorted(result["properties"])
            self._schemas["FlatResult"] = {
                "description": "The result's keys at the top level, instead of in `result`.",
                "type": "object",
                "properties": result["properties"] | {k: v for k, v in whole["properties"].items() if k != "result"},
                "additionalProperties": result["additionalProperties"],
                "allOf": [{"anyOf": [{"required": [key]} for key in keys]}, {"anyOf": _STATUS_OR_NO_ERRORS}],
                "not": {"required": ["result"]},
            }
            return {"anyOf": [schema, {"$ref": "#/components/schemas/FlatResult"}]}
        if rpc == PUBLISH_EVENT:
            # The type is in the path, or in the body.
            name = "LooseTypedEvent" if "event_type" in whole.get("required", ()) else "LooseEvent"
            self._schemas[name] = {
                "description": "The keys of `data` at the top level, instead of in `data`.",
                "type": "object",
                "properties": {key: value for key, value in whole["properties"].items() if key != "data"},
                "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
                "not": {"required": ["data"]},
            } | ({"required": whole["required"]} if "required" in whole else {})
            return {"anyOf": [schema, {"$ref": f"#/components/schemas/{name}"}]}
        return schema

    def _parameters(self, route: Route) -> Iterator[dict[str, Any]]:
        fields = route.method.input_type.fields_by_name
        in_path = [segment[1:-1] for segment in route.segments if segment.startswith("{")]
        for name in in_path:
            schema = self._made.scalar(fields[name], "Input") | {"minLength": 1}
            if fields[name].is_repeated:
                schema["pattern"] = f"^{ID_PATTERN}(,{ID_PATTERN})*$"
            yield {"name": name, "in": "path", "required": True, "schema": schema} | self._described(fields[name])
        if route.body:
            return
        for name, field in fields.items():
            if name not in in_path:
                required = codec.rules(field).required
                yield {
                    "name": name,
                    "in": "query",
                    "required": required,
                    "schema": self._made.field(field, "Input"),
                } | self._described(field)

    def _described(self, field: FieldDescriptor) -> dict[str, str]:
        comment = self._made.comment(field.full_name)
        return {"description": comment} if comment else {}

    def _responses(self, route: Route) -> dict[str, Any]:
        output = route.method.output_type
        if route.response_body:
            inner = output.fields_by_name[route.response_body].message_type
            assert inner is not None
            output = inner
        if route.is_http_body:
            content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
        else:
            content = {"application/json": {"schema": self._made.reference(output, "")}}
        if route.method.server_streaming:
            content = {"application/x-ndjson": {}, "text/event-stream": {}}
            if route.rpc not in SSE_BY_DEFAULT:
                del content["text/event-stream"]
        responses: dict[str, Any] = {str(route.rules.success_code): {"description": "Done.", "content": content}}
        for status, text in _ERRORS.items():
            if status in (408, 413, 415) and not route.body:
                continue
            if status == 413:
                most = max_request_bytes(route.method)
                text = f"The body has more than {most} bytes, or more than {MAX_ELEMENTS} elements (REQ_004)."
            if status == 503 and route.rpc == "/orchestra.v1.SystemService/GetHealth":
                responses["503"] = {"description": "Unhealthy; the body says what is wrong.", "content": content}
                continue
            error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
            responses[str(status)] = {"description": text, "content": error}
        return responses


def _fixed(name: str, summary: str, content_type: str = "application/json") -> dict[str, Any]:
    content = {content_type: {"schema": {"type": "object" if content_type == "application/json" else "string"}}}
    return {
        "operationId": name,
        "tags": ["SystemService"],
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": "Done.", "content": content}},
    }


def main() -> None:
    image = descriptor_pb2.FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes())
    json.dump(Document(comments_of(image)).build(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
