"""Create the tables of sidecars that share a database, and note who runs an agent and who publishes an event."""

import sqlalchemy as sa

from cco_sidecar.storage.sql.migrations import tables

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables.create(
        "members",
        sa.Column("sidecar_id", sa.String, primary_key=True),
        sa.Column("incarnation", sa.String, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    tables.create(
        "leases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    tables.add_column("agents", sa.Column("sidecar_id", sa.String, nullable=False, server_default=""))
    tables.add_column("outbox", sa.Column("sidecar_id", sa.String, nullable=False, server_default=""))
