"""Create the table of relations between documents."""

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql.migrations import tables

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    tables.create(
        "document_relations",
        sa.Column("number", number, primary_key=True, autoincrement=True),
        sa.Column("relation_id", sa.String, nullable=False, unique=True),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("from_id", sa.String, nullable=False),
        sa.Column("to_id", sa.String, nullable=False),
        sa.Column("type", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("document_relations_by_from", "document_relations", ["from_id", "to_id", "type"], unique=True)
    op.create_index("document_relations_by_to", "document_relations", ["to_id"])
