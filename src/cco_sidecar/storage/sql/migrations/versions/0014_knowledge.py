"""Create the table of what agents learned."""

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql import words
from cco_sidecar.storage.sql.migrations import tables

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    tables.create(
        "knowledge",
        sa.Column("number", number, primary_key=True, autoincrement=True),
        sa.Column("entry_id", sa.String, nullable=False, unique=True),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("issue_id", sa.String, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("approved", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    by_text = ["project_id", "issue_id", "kind", "digest"]
    op.create_index("knowledge_by_text", "knowledge", by_text, unique=True)
    op.create_index("knowledge_by_status", "knowledge", ["project_id", "status", "number"])
    words.create(op.get_bind(), words.KNOWLEDGE_WORDS)
