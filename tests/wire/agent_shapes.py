"""The answers about agents, approvals, credentials and tokens as shapes: exactly these keys, with these JSON types."""

from __future__ import annotations

from tests.wire.shapes import BOOL, NUMBER, OBJECT, STAMP, TEXT, Maybe, Nullable

# Contract, section 1.5: the first seven; the last two are additions.
SPAWNED = {
    "agent_id": TEXT,
    "spawned": BOOL,
    "process_id": Nullable(NUMBER),
    "context_injected": BOOL,
    "jwt_token": Nullable(TEXT),
    "webhook_url": TEXT,
    "timestamp": STAMP,
    "status": TEXT,
    "queue_position": NUMBER,
}
USAGE = {
    "session_id": TEXT,
    "turns": Maybe(NUMBER),
    "duration_ms": Maybe(NUMBER),
    "api_duration_ms": Maybe(NUMBER),
    "input_tokens": Maybe(NUMBER),
    "output_tokens": Maybe(NUMBER),
    "cache_read_tokens": Maybe(NUMBER),
    "cache_creation_tokens": Maybe(NUMBER),
    "cost_usd": Maybe(NUMBER),
}
PROGRESS = {"percent": Maybe(NUMBER), "message": TEXT, "at": STAMP}
AGENT = {
    "agent_id": TEXT,
    "agent_type": TEXT,
    "issue_id": TEXT,
    "project_id": TEXT,
    "task": TEXT,
    "status": TEXT,
    "reason": TEXT,
    "status_since": STAMP,
    "priority": TEXT,
    "created_at": STAMP,
    "started_at": Maybe(STAMP),
    "ended_at": Maybe(STAMP),
    "process_id": Maybe(NUMBER),
    "exit_code": Maybe(NUMBER),
    "signal": Maybe(TEXT),
    "attempt": NUMBER,
    "max_attempts": NUMBER,
    "retry_at": Maybe(STAMP),
    "spawned_by": TEXT,
    "depth": NUMBER,
    "cause": TEXT,
    "runner": TEXT,
    "model": TEXT,
    "isolation": TEXT,
    "branch": TEXT,
    "worktree": TEXT,
    "progress": Maybe(PROGRESS),
    "usage": Maybe(USAGE),
    "last_output": [TEXT],
    "result_id": TEXT,
    "credentials": [TEXT],
    "queue_position": NUMBER,
    "sidecar_id": TEXT,
    "runner_id": TEXT,
    "peak_memory_bytes": Maybe(NUMBER),
    "cpu_seconds": Maybe(NUMBER),
    "message": TEXT,
}
AGENTS = {
    "agents": [AGENT],
    "next_cursor": Nullable(TEXT),
    "running": NUMBER,
    "queued": NUMBER,
    "max_concurrent": NUMBER,
}
STOPPED = {"agent_id": TEXT, "stopped": BOOL, "status": TEXT, "reason": TEXT, "timestamp": STAMP}
LOGS = {"lines": [{"timestamp": STAMP, "stream": TEXT, "text": TEXT}]}
HEARTBEAT = {"status": TEXT, "timestamp": STAMP}
DISCARDED = {"discarded": BOOL, "branch": TEXT}
ACCESS = {"allowed": BOOL, "rule": TEXT, "reason": TEXT, "rpc": TEXT, "agent_type": TEXT}
TOKEN = {"jwt_token": TEXT, "agent_id": TEXT, "expires_at": STAMP}
REVOKED = {"revoked": NUMBER, "timestamp": STAMP}
AGENT_TYPES = {
    "agent_types": [
        {
            "type": TEXT,
            "name": TEXT,
            "group": TEXT,
            "model": TEXT,
            "role": TEXT,
            "capabilities": [TEXT],
            "languages": [TEXT],
            "file_patterns": [TEXT],
            "subscriptions": [TEXT],
            "permissions": [TEXT],
        }
    ]
}
APPROVAL = {
    "approval_id": TEXT,
    "project_id": TEXT,
    "issue_id": TEXT,
    "requested_by": TEXT,
    "question": TEXT,
    "status": TEXT,
    "comment": TEXT,
    "created_at": STAMP,
    "answered_at": Maybe(STAMP),
    "data": Maybe(OBJECT),
}
APPROVALS = {"approvals": [APPROVAL], "next_cursor": Nullable(TEXT)}
CREDENTIAL = {"name": TEXT, "created_at": STAMP, "updated_at": STAMP}
CREDENTIALS = {"credentials": [CREDENTIAL]}
CREDENTIAL_VALUE = {"name": TEXT, "value": TEXT, "updated_at": STAMP}
DELETED = {"deleted": BOOL, "name": TEXT}
