"""Create the tables of documents."""

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql import words
from cco_sidecar.storage.sql.migrations import tables

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    tables.create(
        "documents",
        sa.Column("number", number, primary_key=True, autoincrement=True),
        sa.Column("document_id", sa.String, nullable=False, unique=True),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("filename", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("documents_by_project", "documents", ["project_id", "number"])
    tables.create(
        "document_tags",
        sa.Column("document_id", sa.String, primary_key=True),
        sa.Column("tag", sa.String, primary_key=True),
    )
    op.create_index("document_tags_by_tag", "document_tags", ["tag"])
    tables.create(
        "document_contents",
        sa.Column("document_id", sa.String, primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("document_contents_by_project", "document_contents", ["project_id", "size"])
    words.create(op.get_bind(), words.DOCUMENT_WORDS)
