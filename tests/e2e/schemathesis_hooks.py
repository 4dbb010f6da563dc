"""What a fuzzer must know of us: NDJSON bodies, and that long polls and streams last."""

import json
from typing import Any

import schemathesis

SHORT = 20


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: Any, value: Any) -> Any:
    return json.dumps(value, default=str).encode() + b"\n"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Polls are cut to 20 ms where they would wait, streams to 50 ms; what is not valid stays as it is."""
    if case.path.startswith("/api/events/wait") and case.method == "GET":
        timeout = (case.query or {}).get("timeout", SHORT)
        if str(timeout).isdigit() and int(timeout) <= 300_000:
            case.query = {**(case.query or {}), "timeout": min(int(timeout), SHORT)}
    elif case.path.startswith("/api/events/stream"):
        # A case that lacks a header on purpose is left as it is: it is refused at once.
        scenario = getattr(getattr(case.meta.phase, "data", None), "scenario", None) if case.meta else None
        if getattr(scenario, "name", "") != "MISSING_PARAMETER":
            case.headers["Grpc-Timeout"] = "50m"
