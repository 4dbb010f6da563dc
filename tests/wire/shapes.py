"""The documented answers as shapes: exactly these keys, with these JSON types (contract, section 1)."""

from __future__ import annotations

import re
from typing import Any

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Maybe:
    """A key that may be missing."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


class Nullable:
    def __init__(self, shape: Any) -> None:
        self.shape = shape


NUMBER, TEXT, BOOL, STAMP, OBJECT = "number", "text", "bool", "stamp", "object"

FILE = {"path": TEXT, "content": TEXT, "last_modified": STAMP, "size": NUMBER, "language": TEXT, "checksum": TEXT}
CONTEXT = {
    "issue_id": TEXT,
    "agent_type": TEXT,
    "context": {
        "project_structure": {
            "root": TEXT,
            "files": [TEXT],
            "directories": [TEXT],
            "total_files": NUMBER,
            "total_size_bytes": NUMBER,
        },
        "relevant_files": [FILE],
        "git_context": {
            "branch": Maybe(TEXT),
            "recent_commits": [
                {"hash": TEXT, "message": TEXT, "author": TEXT, "timestamp": STAMP, "files_changed": [TEXT]}
            ],
            "uncommitted_changes": [{"path": TEXT, "status": TEXT, "diff": TEXT}],
            "remote": Maybe(TEXT),
            "remote_url": Maybe(TEXT),
            "older_commits": BOOL,
            "more_uncommitted_changes": NUMBER,
        },
        "previous_agent_outputs": [
            {
                "agent": TEXT,
                "agent_type": TEXT,
                "timestamp": STAMP,
                "decision": TEXT,
                "rationale": TEXT,
                "files_affected": [TEXT],
                "status": Maybe(TEXT),
                "errors": [TEXT],
                "warnings": [TEXT],
                "next_steps": [TEXT],
                "artifacts": OBJECT,
            }
        ],
        "metadata": {
            "project_type": Maybe(TEXT),
            "dependencies": [TEXT],
            "python_version": Maybe(TEXT),
            "test_coverage": Maybe(NUMBER),
            "last_build_status": Maybe(TEXT),
            "last_build_time": Maybe(STAMP),
            "security_scan_status": Maybe(TEXT),
        },
    },
    "truncated": BOOL,
    "truncation_strategy": TEXT,
    "total_size_bytes": NUMBER,
    "file_count": NUMBER,
    "timestamp": STAMP,
    "cache_hit": BOOL,
    "manifest": {
        "entries": [
            {
                "path": TEXT,
                "disposition": TEXT,
                "reason": TEXT,
                "bytes": NUMBER,
                "files": NUMBER,
                "masked_secrets": [{"line": NUMBER, "rule": TEXT}],
            }
        ],
        "files_included": NUMBER,
        "files_cut": NUMBER,
        "files_left_out": NUMBER,
        "secrets_masked": NUMBER,
        "checksum": TEXT,
    },
}
FILES = {
    "issue_id": TEXT,
    "agent_type": TEXT,
    "files": [
        {
            "path": TEXT,
            "content": TEXT,
            "first_line": NUMBER,
            "last_line": NUMBER,
            "line_count": NUMBER,
            "language": TEXT,
            "last_modified": STAMP,
            "checksum": TEXT,
            "masked_secrets": [{"line": NUMBER, "rule": TEXT}],
        }
    ],
    "timestamp": STAMP,
}
STORED = {
    "id": TEXT,
    "stored": BOOL,
    "storage_path": TEXT,
    "next_agents": [{"agent_type": TEXT, "priority": TEXT, "reason": TEXT}],
    "event_published": BOOL,
    "event_id": TEXT,
    "timestamp": STAMP,
}
PUBLISHED = {
    "event_id": TEXT,
    "published": BOOL,
    "subscribers_notified": [TEXT],
    "subscriber_count": NUMBER,
    "timestamp": STAMP,
    "topic": TEXT,
    "ttl_seconds": NUMBER,
}
EVENT = {
    "event_id": TEXT,
    "event_type": TEXT,
    "publisher": TEXT,
    "topic": TEXT,
    "data": OBJECT,
    "timestamp": STAMP,
    "correlation_id": TEXT,
}
WAITED = {
    "events": [EVENT],
    "more_available": BOOL,
    "next_cursor": Nullable(TEXT),
    "timestamp": STAMP,
    "timeout": Maybe(BOOL),
}
CLEARED = {"cleared": BOOL, "entries_removed": NUMBER, "bytes_freed": NUMBER, "timestamp": STAMP}
HEALTH = {
    "status": TEXT,
    "service": TEXT,
    "version": TEXT,
    "uptime_seconds": NUMBER,
    "checks": {
        "storage": TEXT,
        "event_bus": TEXT,
        "memory_usage_mb": NUMBER,
        "cpu_usage_percent": NUMBER,
        "active_agents": NUMBER,
        "event_queue_size": NUMBER,
        "disk_space_available_mb": NUMBER,
    },
    "timestamp": STAMP,
}
STATUS = {
    "agents": {
        "active": NUMBER,
        "completed": NUMBER,
        "failed": NUMBER,
        "spawned_total": NUMBER,
        "by_type": OBJECT,
        "avg_execution_time_ms": NUMBER,
        "stopped": NUMBER,
        "tokens_issued": NUMBER,
    },
    "storage": {
        "context_cache_entries": NUMBER,
        "results_stored": NUMBER,
        "total_size_mb": NUMBER,
        "cache_hit_rate": NUMBER,
        "storage_path": TEXT,
        "results_failed": NUMBER,
        "problems": [],
    },
    "events": {
        "total_published": NUMBER,
        "total_delivered": NUMBER,
        "active_subscriptions": NUMBER,
        "queue_depth": NUMBER,
        "avg_delivery_time_ms": NUMBER,
        "dead_letter_queue_size": NUMBER,
    },
    "performance": {
        "avg_response_time_ms": NUMBER,
        "p95_response_time_ms": NUMBER,
        "p99_response_time_ms": NUMBER,
        "requests_per_second": NUMBER,
        "errors_per_minute": NUMBER,
    },
    # Only of sidecars that share their records and events.
    "cluster": Maybe(OBJECT),
    "timestamp": STAMP,
}
ERROR = {"error": TEXT, "message": TEXT, "code": TEXT, "details": OBJECT, "timestamp": STAMP, "request_id": TEXT}


def assert_shape(value: Any, shape: Any, where: str = "$") -> None:
    """Exactly the shape's keys and types; every item of a list is checked."""
    if isinstance(shape, Nullable):
        if value is not None:
            assert_shape(value, shape.shape, where)
        return
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        must = {key for key, inner in shape.items() if not isinstance(inner, Maybe)}
        assert must <= value.keys() <= shape.keys(), f"{where}: {value.keys() ^ shape.keys()}"
        for key, inner in value.items():
            wanted = shape[key]
            assert_shape(inner, wanted.shape if isinstance(wanted, Maybe) else wanted, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for index, item in enumerate(value):
            assert_shape(item, shape[0], f"{where}[{index}]")
    elif shape == NUMBER:
        assert isinstance(value, int | float) and not isinstance(value, bool), f"{where}: {value!r}"
    elif shape == BOOL:
        assert isinstance(value, bool), f"{where}: {value!r}"
    elif shape == OBJECT:
        assert isinstance(value, dict), f"{where}: {value!r}"
    elif shape == STAMP:
        assert isinstance(value, str) and TIME.fullmatch(value), f"{where}: {value!r}"
    else:
        assert isinstance(value, str), f"{where}: {value!r}"
