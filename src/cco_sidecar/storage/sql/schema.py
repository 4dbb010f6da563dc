"""The tables. Only migrations change them; a test compares both."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()

# SQLite assigns row numbers only to a column of type INTEGER (sqlite.org/autoinc.html).
_Number = BigInteger().with_variant(Integer, "sqlite")

results = Table(
    "results",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("issue_id", String, nullable=False),
    Column("agent_type", String, nullable=False),
    # The run of the agent that stored it (claim `sid` of its token); empty for other callers.
    Column("session", String, nullable=False, server_default=""),
    # orchestra.v1.ResultStatus
    Column("status", Integer, nullable=False),
    Column("execution_ms", Float),
    # A serialised orchestra.v1.Result.
    Column("body", LargeBinary, nullable=False),
    Index("results_by_key", "project_id", "issue_id", "agent_type", "number"),
    Index("results_by_session", "session", "number"),
    sqlite_autoincrement=True,
)

# The idempotency keys that results were stored with.
result_keys = Table(
    "result_keys",
    metadata,
    Column("project_id", String, primary_key=True),
    # The run of the agent that stored it; the agent's id for other callers.
    Column("owner", String, primary_key=True),
    Column("idempotency_key", String, primary_key=True),
    Column("result_id", String, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("document_id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("filename", String, nullable=False),
    # A serialised orchestra.v1.Document.
    Column("body", LargeBinary, nullable=False),
    Index("documents_by_project", "project_id", "number"),
    sqlite_autoincrement=True,
)

document_tags = Table(
    "document_tags",
    metadata,
    Column("document_id", String, primary_key=True),
    Column("tag", String, primary_key=True),
    Index("document_tags_by_tag", "tag"),
)

# The revisions of documents. The index of their words is in words.py.
document_contents = Table(
    "document_contents",
    metadata,
    Column("document_id", String, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    # A serialised orchestra.v1.DocumentRevision.
    Column("body", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("document_contents_by_project", "project_id", "size"),
)

document_relations = Table(
    "document_relations",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("relation_id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("from_id", String, nullable=False),
    Column("to_id", String, nullable=False),
    # orchestra.v1.DocumentRelationType
    Column("type", Integer, nullable=False),
    # A serialised orchestra.v1.DocumentRelation.
    Column("body", LargeBinary, nullable=False),
    Index("document_relations_by_from", "from_id", "to_id", "type", unique=True),
    Index("document_relations_by_to", "to_id"),
    sqlite_autoincrement=True,
)

# What agents learned. The index of their words is in words.py.
knowledge = Table(
    "knowledge",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("entry_id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    # Empty if the operator named none.
    Column("issue_id", String, nullable=False),
    # orchestra.v1.KnowledgeKind
    Column("kind", Integer, nullable=False),
    # orchestra.v1.KnowledgeStatus
    Column("status", Integer, nullable=False),
    # Of the text: an issue has each once.
    Column("digest", LargeBinary, nullable=False),
    # Unix microseconds; 0 while it is pending.
    Column("approved", BigInteger, nullable=False),
    # A serialised orchestra.v1.KnowledgeEntry.
    Column("body", LargeBinary, nullable=False),
    Index("knowledge_by_text", "project_id", "issue_id", "kind", "digest", unique=True),
    Index("knowledge_by_status", "project_id", "status", "number"),
    sqlite_autoincrement=True,
)

sessions = Table(
    "sessions",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("session_id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("name", String, nullable=False),
    # Empty if no session started it.
    Column("parent_id", String, nullable=False),
    # Empty if another program runs it, or before its agent is spawned.
    Column("agent_id", String, nullable=False),
    # orchestra.v1.SessionStatus
    Column("status", Integer, nullable=False),
    # Whether it has not ended; whether its end is still to be told to its parent.
    Column("is_open", Boolean, nullable=False),
    Column("is_due", Boolean, nullable=False),
    # A serialised orchestra.v1.Session.
    Column("body", LargeBinary, nullable=False),
    Index("sessions_by_name", "project_id", "name", unique=True),
    Index("sessions_by_project", "project_id", "number"),
    Index("sessions_by_parent", "parent_id", "number"),
    Index("sessions_by_agent", "agent_id"),
    sqlite_autoincrement=True,
)

session_events = Table(
    "session_events",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", String, nullable=False),
    # Its type; of a message, also the role.
    Column("kind", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    # A serialised orchestra.v1.SessionEvent.
    Column("body", LargeBinary, nullable=False),
    Index("session_events_by_kind", "session_id", "kind", "sequence"),
    Index("session_events_by_project", "project_id", "size"),
)

revocations = Table(
    "revocations",
    metadata,
    Column("kind", String, primary_key=True),
    Column("value", String, primary_key=True),
    # Seconds since 1970 UTC.
    Column("at", Float, nullable=False),
    Column("until", Float, nullable=False),
    # Grows with every revocation, so that other processes find the new ones.
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Index("revocations_by_revision", "revision"),
)

agents = Table(
    "agents",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("agent_id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("issue_id", String, nullable=False),
    Column("agent_type", String, nullable=False),
    # orchestra.v1.AgentStatus
    Column("status", Integer, nullable=False),
    # The event and the rule that spawned it, so that no event is handled twice.
    Column("cause", String, unique=True),
    # Reported by the agent; used for budgets.
    Column("tokens", Float, nullable=False),
    Column("cost_usd", Float, nullable=False),
    # The root of the spawn tree; empty when a person spawned the agent.
    Column("tree", String, nullable=False, server_default=""),
    # Microseconds since 1970 UTC.
    Column("created", BigInteger, nullable=False, server_default="0"),
    # The sidecar that runs it, or ran it last.
    Column("sidecar_id", String, nullable=False, server_default=""),
    # A serialised orchestra.v1.Agent, and the orchestra.v1.SpawnAgentRequest that created it.
    Column("body", LargeBinary, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Index("agents_by_project", "project_id", "issue_id", "number"),
    Index("agents_by_status", "status"),
    Index("agents_by_tree", "project_id", "tree"),
    sqlite_autoincrement=True,
)

approvals = Table(
    "approvals",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("approval_id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("issue_id", String, nullable=False),
    # orchestra.v1.ApprovalStatus
    Column("status", Integer, nullable=False),
    Column("cause", String, unique=True),
    # A serialised orchestra.v1.Approval.
    Column("body", LargeBinary, nullable=False),
    Index("approvals_by_project", "project_id", "number"),
    sqlite_autoincrement=True,
)

credentials = Table(
    "credentials",
    metadata,
    Column("name", String, primary_key=True),
    # AES-256-GCM: nonce and ciphertext, bound to the name.
    Column("sealed", LargeBinary, nullable=False),
    # Microseconds since 1970 UTC.
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
)

# How far the handover rules have read each project's events.
handover = Table(
    "handover",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

consumers = Table(
    "consumers",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    # A serialised orchestra.v1.Consumer, with what is in flight.
    Column("body", LargeBinary, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("dead_letter_id", String, nullable=False, unique=True),
    Column("project_id", String, nullable=False),
    Column("consumer", String, nullable=False),
    # A serialised orchestra.v1.DeadLetter.
    Column("body", LargeBinary, nullable=False),
    Index("dead_letters_by_consumer", "project_id", "consumer", "number"),
    sqlite_autoincrement=True,
)

schedules = Table(
    "schedules",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("schedule_id", String, primary_key=True),
    # A serialised orchestra.v1.Schedule.
    Column("body", LargeBinary, nullable=False),
)

event_schemas = Table(
    "event_schemas",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("event_type", String, primary_key=True),
    # A serialised orchestra.v1.EventSchema.
    Column("body", LargeBinary, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    # A serialised orchestra.v1.Webhook.
    Column("body", LargeBinary, nullable=False),
    # Its secret, as in credentials, and the one before, which is used until a time in microseconds since 1970 UTC.
    Column("sealed", LargeBinary, nullable=False),
    Column("former_sealed", LargeBinary, nullable=False),
    Column("former_until", BigInteger, nullable=False),
)

# Events to publish, each stored with the change it announces.
outbox = Table(
    "outbox",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("project_id", String, nullable=False),
    # A serialised orchestra.v1.Event, without its id and time.
    Column("event", LargeBinary, nullable=False),
    # The sidecar that publishes it.
    Column("sidecar_id", String, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)

# The sidecars that share the database.
members = Table(
    "members",
    metadata,
    Column("sidecar_id", String, primary_key=True),
    # One process; the next with the same id has another.
    Column("incarnation", String, nullable=False),
    # Its last sign of life by the clock of the database, in seconds since 1970 UTC.
    Column("seen", Float, nullable=False),
    # A serialised orchestra.v1.ClusterMember.
    Column("body", LargeBinary, nullable=False),
)

# What one sidecar of several does.
leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    # Grows with every holder.
    Column("fence", BigInteger, nullable=False),
    # By the clock of the database, in seconds since 1970 UTC.
    Column("until", Float, nullable=False),
)
