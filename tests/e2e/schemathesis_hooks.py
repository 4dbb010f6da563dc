"""What a fuzzer must know of us: NDJSON bodies, and that a long poll may take long."""

from typing import Any

import orjson
import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: Any, value: Any) -> Any:
    return orjson.dumps(value, default=str) + b"\n"


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    if context.operation.path.startswith("/api/events/wait") and isinstance((query or {}).get("timeout", 0), int):
        return {**(query or {}), "timeout": min((query or {}).get("timeout", 20), 20)}
    return query


@schemathesis.hook
def map_headers(context: Any, headers: dict[str, Any] | None) -> dict[str, Any] | None:
    if context.operation.path.startswith("/api/events/stream"):
        return {**(headers or {}), "Grpc-Timeout": "50m"}
    return headers
