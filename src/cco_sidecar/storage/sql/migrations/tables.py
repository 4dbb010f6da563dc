"""What migrations share."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from cco_sidecar.storage.sql.checksums import generated


def create(name: str, *columns: sa.Column[Any], **more: Any) -> None:
    """Creates a table; in SQLite, with the checksum of each row."""
    names = [column.name for column in columns]
    checksum = [generated(names)] if op.get_bind().dialect.name == "sqlite" else []
    op.create_table(name, *columns, *checksum, **more)
