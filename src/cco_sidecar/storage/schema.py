"""Tables. Changed by migrations only (storage/migrations)."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()

results = Table(
    "results",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("issue_id", String, nullable=False),
    Column("agent_type", String, nullable=False),
    # orchestra.v1.ResultStatus
    Column("status", Integer, nullable=False),
    Column("execution_ms", Float),
    # Empty until the result's event is published.
    Column("event_id", String, nullable=False),
    # A serialised orchestra.v1.Result.
    Column("body", LargeBinary, nullable=False),
    Index("results_by_key", "project_id", "issue_id", "agent_type", "number"),
    Index("results_unpublished", "event_id"),
    sqlite_autoincrement=True,
)

revocations = Table(
    "revocations",
    metadata,
    Column("kind", String, primary_key=True),
    Column("value", String, primary_key=True),
    # Seconds since 1970 UTC.
    Column("at", Float, nullable=False),
    Column("until", Float, nullable=False),
)
