"""What migrations share."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql.checksums import COLUMN, generated


def create(name: str, *columns: sa.Column[Any], **more: Any) -> None:
    """Creates a table; in SQLite, with the checksum of each row."""
    names = [column.name for column in columns]
    checksum = [generated(names)] if op.get_bind().dialect.name == "sqlite" else []
    op.create_table(name, *columns, *checksum, **more)


def add_column(name: str, column: sa.Column[Any]) -> None:
    """Adds a column to a table with numbers; in SQLite, with new checksums, for which the table is made again."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        op.add_column(name, column)
        return
    # A new table would give the numbers of deleted rows again.
    sequence = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name").bindparams(name=name)
    given = connection.execute(sequence).scalar_one_or_none()
    kind = {"sqlite_autoincrement": True}
    with op.batch_alter_table(name, recreate="always", table_kwargs=kind) as batch:
        batch.drop_column(COLUMN)
    names = [each["name"] for each in sa.inspect(connection).get_columns(name)]
    with op.batch_alter_table(name, recreate="always", table_kwargs=kind) as batch:
        batch.add_column(column)
        batch.add_column(generated([*names, column.name]))
    if given is not None:
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name").bindparams(name=name))
        again = sa.text("INSERT INTO sqlite_sequence VALUES (:name, :seq)").bindparams(name=name, seq=given)
        connection.execute(again)
