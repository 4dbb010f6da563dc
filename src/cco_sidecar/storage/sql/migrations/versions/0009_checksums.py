"""Add a checksum to each row in SQLite."""

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql.checksums import generated

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBERED = {"results", "agents", "approvals", "dead_letters", "outbox"}
_NAMED = {"revocations", "credentials", "handover", "consumers", "schedules", "event_schemas", "webhooks"}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    # A new table would give the numbers of deleted rows again.
    given = connection.execute(sa.text("SELECT name, seq FROM sqlite_sequence")).all()
    for name in sorted(_NUMBERED | _NAMED):
        columns = [column["name"] for column in sa.inspect(connection).get_columns(name)]
        # SQLite adds a stored column to new tables only.
        kind = {"sqlite_autoincrement": True} if name in _NUMBERED else {}
        with op.batch_alter_table(name, recreate="always", table_kwargs=kind) as batch:
            batch.add_column(generated(columns))
    for name, seq in given:
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name").bindparams(name=name))
        connection.execute(sa.text("INSERT INTO sqlite_sequence VALUES (:name, :seq)").bindparams(name=name, seq=seq))
