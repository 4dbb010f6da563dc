"""Row checksums: a record that changed on the disk is refused, never served.

SQLite has no checksums in its database file. So each of its tables has a generated column ``checksum``, which SQLite
fills whenever it writes a row, and ``whole`` compares it while a row is read. PostgreSQL has checksums of pages.

Counts, sums, sizes and `ResultStore.outcomes` read single columns; for these the check at the start must be enough. A
migration that adds a column makes the table again (``recreate="always"``), with a new ``generated`` column.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

COLUMN = "checksum"
FUNCTION = "row_checksum"


class DamagedRecord(Exception):
    """A row does not match its checksum."""


def row_checksum(*values: int | float | str | bytes | None) -> int:
    """Returns the CRC-32 of the values, their types, and their lengths. The SQL function of that name.

    It must stay as it is: what it returned is stored.
    """
    crc = 0
    for value in values:
        if isinstance(value, bytes):
            data, kind = value, b"b"
        elif isinstance(value, str):
            data, kind = value.encode(errors="surrogatepass"), b"s"
        elif isinstance(value, float):
            data, kind = struct.pack("<d", value), b"f"
        else:
            data, kind = repr(value).encode(), b"i"
        crc = zlib.crc32(data, zlib.crc32(kind + struct.pack("<Q", len(data)), crc))
    return crc


def add_function(connection: sqlite3.Connection) -> None:
    """Adds the SQL function, which every connection needs that changes rows or compares checksums."""
    connection.create_function(FUNCTION, -1, row_checksum, deterministic=True)


def expression(columns: Iterable[str]) -> str:
    """Returns the SQL of the checksum of a row with these columns."""
    return f"{FUNCTION}({', '.join(sorted(columns))})"


def generated(columns: Iterable[str]) -> sa.Column[int]:
    """Returns the column for a table in SQLite with these ``columns``, for a migration."""
    return sa.Column(COLUMN, sa.Integer, sa.Computed(expression(columns), persisted=True))


def whole(table: sa.Table) -> sa.Select[Any]:
    """Selects whole rows, each followed by True. Reading a damaged one raises DamagedRecord."""
    return sa.select(*table.c, _intact(*table.c))


class _Checked(sa.types.TypeDecorator[bool]):
    impl = sa.Boolean
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> bool:
        if not value:
            raise DamagedRecord("a record does not match its checksum")
        return True


class _intact(FunctionElement[bool]):  # noqa: N801
    """Whether the columns of a row match its checksum."""

    type = _Checked()
    inherit_cache = True


@compiles(_intact)
def _always(element: _intact, compiler: Any, **_: Any) -> str:
    return "true"


@compiles(_intact, "sqlite")
def _compared(element: _intact, compiler: Any, **_: Any) -> str:
    (table,) = {column.table.name for column in element.clauses}
    return f"({expression(f'{table}.{column.name}' for column in element.clauses)} = {table}.{COLUMN})"
