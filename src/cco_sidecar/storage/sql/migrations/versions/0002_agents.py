"""Create agents, approvals, credentials and handover; add the run of a result."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("results", sa.Column("session", sa.String, nullable=False, server_default=""))
    op.create_index("results_by_session", "results", ["session", "number"])
    op.create_table(
        "agents",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("agent_id", sa.String, nullable=False, unique=True),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("issue_id", sa.String, nullable=False),
        sa.Column("agent_type", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("cause", sa.String, unique=True),
        sa.Column("tokens", sa.Float, nullable=False),
        sa.Column("cost_usd", sa.Float, nullable=False),
        sa.Column("unannounced", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("agents_by_project", "agents", ["project_id", "issue_id", "number"])
    op.create_index("agents_by_status", "agents", ["status"])
    op.create_table(
        "approvals",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("approval_id", sa.String, nullable=False, unique=True),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("issue_id", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("cause", sa.String, unique=True),
        sa.Column("unannounced", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("approvals_by_project", "approvals", ["project_id", "number"])
    op.create_table(
        "credentials",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "handover",
        sa.Column("project_id", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
