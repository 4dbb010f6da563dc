"""Create event_schemas."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_schemas",
        sa.Column("project_id", sa.String, primary_key=True),
        sa.Column("event_type", sa.String, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
