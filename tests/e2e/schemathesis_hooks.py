"""What a fuzzer must know about our API: NDJSON bodies, and long polls and streams that stay open."""

import json
from typing import Any

import schemathesis

SHORT = 20


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: Any, value: Any) -> Any:
    return json.dumps(value, default=str).encode() + b"\n"


def _is_valid(case: Any) -> bool:
    """The case is meant to be accepted."""
    return case.meta is not None and case.meta.generation.mode.is_positive


def _lacks_a_header(case: Any) -> bool:
    """The case omits it on purpose: it stays as it is, and is refused at once."""
    scenario = getattr(getattr(case.meta.phase, "data", None), "scenario", None) if case.meta else None
    return getattr(scenario, "name", "") == "MISSING_PARAMETER"


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leaves out ``?tags=``, which is meant to be refused: nothing after the sign means that nothing was said."""
    values = (case.query or {}).values()
    return _is_valid(case) or not any(isinstance(value, list) and "" in value for value in values)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Polls that would wait are cut to 20 ms, and streams to 50 ms; invalid cases stay as they are."""
    if case.path.startswith("/api/events/wait") and case.method == "GET":
        timeout = (case.query or {}).get("timeout", SHORT)
        if str(timeout).isdigit() and int(timeout) <= 300_000:
            case.query = {**(case.query or {}), "timeout": min(int(timeout), SHORT)}
    elif case.path == "/api/agents/spawn" and isinstance(case.body, dict) and _is_valid(case):
        # The command to run is not left to chance, and every second agent type is an existing one.
        for name in ("command", "environment", "credentials"):
            case.body.pop(name, None)
        if len(str(case.body)) % 2:
            case.body["agent_type"] = "python-specialist"
    elif case.path == "/api/results" and isinstance(case.body, dict) and _is_valid(case):
        # The operator names the agent of a result; an agent need not.
        case.body |= {"agent_type": "python-specialist", "issue_id": case.body.get("issue_id") or "issue-fuzz"}
    elif case.path.startswith(
        (
            "/api/consumers",
            "/api/dead-letters",
            "/api/schedules",
            "/api/events",
            "/api/webhooks",
            "/api/schemas",
            "/api/document",
            "/api/blueprints",
            "/api/sessions",
        )
    ) and _is_valid(case):
        _choose(case)
    elif case.path.endswith(":search") and _is_valid(case):
        # Most texts have no words.
        case.query = {**(case.query or {}), "query": "word"}
    elif case.path == "/api/access" and _is_valid(case):
        # Most texts are the name of no call.
        case.query = {**case.query, "rpc": "GetAgent"}
    elif case.path.endswith("/files") and _is_valid(case):
        case.query = _of_files(case.query or {})
    elif not _lacks_a_header(case):
        if case.path.endswith("/logs"):
            case.headers["Grpc-Timeout"] = "2S"
        elif "/stream" in case.path and "/context" not in case.path:
            case.headers["Grpc-Timeout"] = "50m"


def _of_files(query: Any) -> dict[str, Any]:
    """What the document cannot say: that commas separate paths, and the last line does not come before the first."""
    found = dict(query)
    if isinstance(found.get("path"), list):
        found["path"] = [str(each).replace(",", "_") for each in found["path"]]
    first, dash, last = str(found.get("lines", "")).partition("-")
    if dash:
        found["lines"] = "-".join(sorted((first, last), key=int)) if last else first
    return found


def _choose(case: Any) -> None:
    """What the document cannot say: which fields exclude each other, and that one of them must be given."""
    body = case.body if isinstance(case.body, dict) else {}
    if not case.path.startswith("/api/events"):
        # What was created is looked for in the same project.
        body.pop("project_id", None)
        case.query = {name: value for name, value in (case.query or {}).items() if name != "project_id"}
    if case.path == "/api/schedules" and isinstance(body.get("event"), dict):
        for name in ("at", "cron", "timezone"):
            body.pop(name, None)
        for name in ("ttl_seconds", "priority", "idempotency_key", "expected_last_event_id", "project_id"):
            body["event"].pop(name, None)
        body["after_seconds"] = body.get("after_seconds") or 3600
    elif case.path == "/api/consumers" and isinstance(body.get("settings"), dict):
        body["settings"]["shared"] = True
    elif case.path == "/api/document-relations":
        # A document has no relation to itself.
        case.body = body | {"from_document_id": "doc_one", "to_document_id": "doc_other"}
    elif case.path.startswith("/api/documents"):
        _of_documents(case, body)
    elif case.path.startswith("/api/blueprints"):
        _of_blueprints(body)
    elif case.path.startswith("/api/sessions"):
        _of_sessions(case, body)
    elif case.path.startswith("/api/schemas") and "schema" in body:
        # Most objects are no JSON Schema.
        body["schema"] = {"maxProperties": 1000}
    elif case.path.startswith("/api/webhooks") and "url" in body:
        # Most URLs may not be called. Nothing listens there.
        body["url"] = "http://127.0.0.1:1/hook"
    elif case.path.endswith("/reset"):
        # The whole body may be left out, too.
        case.body = body | {"since": body.get("since") or "0"}
    elif case.path.endswith("/pull"):
        # Without a body it would wait for half a minute.
        case.body = body | {"timeout": SHORT}
    elif case.path == "/api/events" and "before" in (case.query or {}):
        case.query = {
            name: value for name, value in case.query.items() if name not in ("since", "since_time", "latest")
        }
    elif case.path == "/api/events" and (case.query or {}).get("latest") in (True, "true"):
        case.query = {name: value for name, value in case.query.items() if not name.startswith("since")}
    elif "/stream" in case.path:
        case.headers["Grpc-Timeout"] = "50m"


def _of_blueprints(body: Any) -> None:
    # Most objects are no JSON Schema, and what a server needs depends on its type.
    for name in ("parameters_schema", "output_schema"):
        if name in body:
            body[name] = {"maxProperties": 1000}
    if "mcp_servers" in body:
        body["mcp_servers"] = {"one": {"command": "true"}}
    if body.get("clear"):
        body["clear"] = [name for name in body["clear"] if name not in body]
    if "file_patterns" in body:
        body["file_patterns"] = ["*.md"]
    if "description" in body:
        body["description"] = body["description"] or "of the fuzzer"


def _of_sessions(case: Any, body: Any) -> None:
    if case.path == "/api/sessions" and case.method == "POST":
        # Only another program's: an agent would be started for each.
        for name in ("prompt", "model", "parameters", "mode", "parent_session_id", "blueprint"):
            body.pop(name, None)
        case.body = body | {"external": True}
    for name in ("metadata",):
        if name in body:
            body[name] = {"ticket": "of the fuzzer"}
    if case.path.endswith("/resume"):
        body.pop("mode", None)
    if "event_type" in body:
        case.body = body | {"role": "user", "tool_name": "Read"}
    if case.path.endswith("/result"):
        case.query = {**(case.query or {}), "timeout": SHORT}


def _of_documents(case: Any, body: Any) -> None:
    for name in ("data", "old_text", "replace_all", "clear_tags"):
        body.pop(name, None)
    if "metadata" in body:
        body["metadata"] = {"description": "of the fuzzer"}
    if case.path.endswith("/content") and case.method != "GET":
        # An edit inserts at the beginning; a write needs a text.
        body.pop("length", None)
        body |= {"offset": 0} if case.method == "PATCH" else {"text": body.get("text") or ""}
        case.body = body
