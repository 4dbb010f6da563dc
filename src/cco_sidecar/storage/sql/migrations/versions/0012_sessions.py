"""Create the tables of sessions."""

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql.migrations import tables

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    tables.create(
        "sessions",
        sa.Column("number", number, primary_key=True, autoincrement=True),
        sa.Column("session_id", sa.String, nullable=False, unique=True),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("parent_id", sa.String, nullable=False),
        sa.Column("agent_id", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("is_due", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("sessions_by_name", "sessions", ["project_id", "name"], unique=True)
    op.create_index("sessions_by_project", "sessions", ["project_id", "number"])
    op.create_index("sessions_by_parent", "sessions", ["parent_id", "number"])
    op.create_index("sessions_by_agent", "sessions", ["agent_id"])
    tables.create(
        "session_events",
        sa.Column("session_id", sa.String, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("session_events_by_kind", "session_events", ["session_id", "kind", "sequence"])
    op.create_index("session_events_by_project", "session_events", ["project_id", "size"])
