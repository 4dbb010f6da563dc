"""Sessions, blueprints and documents in the original's JSON."""

from __future__ import annotations

from typing import Any

from cco_sidecar.core import codec
from cco_sidecar.storage.blueprints import servers_of
from orchestra.v1.blueprint_service_pb2 import Blueprint
from orchestra.v1.document_service_pb2 import Document
from orchestra.v1.session_service_pb2 import (
    SESSION_STATUS_PENDING,
    SESSION_STATUS_RUNNING,
    Session,
    SessionEvent,
)

_ACTIVE = (SESSION_STATUS_PENDING, SESSION_STATUS_RUNNING)
_OF_EVENTS = ("tool_name", "tool_input", "tool_output", "error", "exit_code", "reason", "role", "content")


def session_shape(session: Session) -> dict[str, Any]:
    resumed = session.HasField("last_resumed_at")
    # What the original has no place for, and its reports were about.
    more: dict[str, Any] = {}
    if not session.external:
        usage = codec.to_dict(session.usage)
        more["usage"] = {name: value for name, value in usage.items() if value not in (None, "")}
        more["ended_at"] = codec.rfc3339(session.ended_at) if session.HasField("ended_at") else None
    return more | {
        "session_id": session.session_id,
        "session_name": session.name,
        "status": "running" if session.status in _ACTIVE else "finished",
        "created_at": codec.rfc3339(session.created_at),
        "project_dir": session.project_dir or None,
        "agent_name": session.blueprint or None,
        "last_resumed_at": codec.rfc3339(session.last_resumed_at) if resumed else None,
        "modified_at": codec.rfc3339(session.modified_at),
    }


def event_shape(event: SessionEvent) -> dict[str, Any]:
    value = codec.to_dict(event)
    return {
        "id": event.sequence,
        "event_type": event.event_type,
        "session_id": event.session_id,
        "session_name": event.session_name,
        "timestamp": value["timestamp"],
        **{name: value.get(name) or (0 if value.get(name) == 0 else None) for name in _OF_EVENTS},
    }


def agent_shape(blueprint: Blueprint) -> dict[str, Any]:
    value = codec.to_dict(blueprint)
    never = "1970-01-01T00:00:00Z"
    return {
        "name": blueprint.name,
        "description": blueprint.description,
        "system_prompt": blueprint.system_prompt or None,
        "mcp_servers": {name: _server_shape(server) for name, server in servers_of(blueprint).items()} or None,
        "skills": list(blueprint.skills) or None,
        "status": value["status"],
        "created_at": value.get("created_at", never),
        "modified_at": value.get("modified_at", never),
    }


def _server_shape(server: dict[str, Any]) -> dict[str, Any]:
    """A program always has arguments there."""
    return {"args": []} | server if server.get("type") == "stdio" else server


def document_shape(document: Document, base: str) -> dict[str, Any]:
    return {
        "id": document.document_id,
        "filename": document.filename,
        "content_type": document.content_type,
        "size_bytes": document.size_bytes,
        "checksum": document.checksum,
        "created_at": codec.rfc3339(document.created_at),
        "updated_at": codec.rfc3339(document.updated_at),
        "tags": list(document.tags),
        "metadata": dict(document.metadata),
        "url": f"{base}/documents/{document.document_id}",
    }
