"""Add the spawn tree and creation time of agents."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("tree", sa.String, nullable=False, server_default=""))
    op.add_column("agents", sa.Column("created", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("agents_by_tree", "agents", ["project_id", "tree"])
