"""Create result_keys."""

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql.checksums import generated

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COLUMNS = ("project_id", "owner", "idempotency_key", "result_id")


def upgrade() -> None:
    columns = [sa.Column(name, sa.String, primary_key=name != "result_id", nullable=False) for name in _COLUMNS]
    checksum = [generated(_COLUMNS)] if op.get_bind().dialect.name == "sqlite" else []
    op.create_table("result_keys", *columns, *checksum)
