"""SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage.sql import checksums
from cco_sidecar.storage.sql.base import NEWER, VERSION, Claim
from cco_sidecar.storage.sql.schema import metadata

# How long one attempt waits for another program that has locked the file; a change is attempted several times.
_BUSY_MS = 1000


class Sqlite:
    """SQLite: one file, for one process (WAL, synchronous=FULL)."""

    shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def engine(self, *, reads: bool = False) -> sa.Engine:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self._path)),
            poolclass=sa.StaticPool,
            connect_args={"check_same_thread": False},
            # Keep tasks and environments out of logged errors.
            hide_parameters=True,
        )
        sa.event.listen(engine, "connect", _reads if reads else _durable)
        sa.event.listen(engine, "handle_error", _mistrusts)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Does nothing: the lock of the storage directory keeps other processes out."""

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Does nothing: one process uses the file."""

    def why_not_written(self, problem: BaseException | None) -> str:
        return "another program has locked it; stop it." if self.may_pass(problem) else ""

    def may_pass(self, problem: BaseException | None) -> bool:
        """A tool that makes a backup, for example, may hold a lock."""
        return getattr(problem, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY

    def claim(self, *, shared: bool = False) -> Claim:
        """Does nothing, for the same reason."""
        return Claim()

    def is_claimed(self) -> bool:
        """Returns False: the lock of the storage directory is checked elsewhere."""
        return False

    def check(self) -> None:
        if self._path.exists() and (damage := self._damage(columns={})):
            raise SettingsError(f"the database {self.name} is damaged: {damage}")

    def version(self) -> str:
        if not self._path.exists():
            return ""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(self.name)}?mode=ro", uri=True)) as own:
                tables = own.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall()
                rows = own.execute(VERSION).fetchall() if tables else []
        except sqlite3.DatabaseError as problem:
            raise self.unusable(problem) from problem
        return str(rows[0][0]) if rows else ""

    def damage_of(self, problem: BaseException | None) -> str:
        """Uses the result code (sqlite.org/rescode.html). The function of the checksums fails for a text that is not
        UTF-8."""
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        damaged = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "user-defined function" in str(problem)
        return str(problem) if damaged else ""

    def integrity(self) -> str:
        return self._damage({name: {*table.c.keys(), checksums.COLUMN} for name, table in metadata.tables.items()})

    def _damage(self, columns: Mapping[str, set[str]]) -> str:
        """Runs ``PRAGMA integrity_check`` and compares the checksum of each row. ``columns`` are those that each table
        must have."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(self.name)}?mode=ro", uri=True)) as own:
                checksums.add_function(own)
                (found,) = own.execute("PRAGMA integrity_check(1)").fetchone()
                return _damaged_rows(own, columns) if found == "ok" else str(found)
        except sqlite3.DatabaseError as problem:
            return self.damage_of(problem)

    def unusable(self, problem: Exception) -> SettingsError:
        text = str(getattr(problem, "orig", problem))
        fixes = (
            ("full", "free some space"),
            ("locked", "stop the program that uses it"),
            ("unable to open", "check the permissions"),
            ("revision", NEWER),
        )
        fix = next((fix for word, fix in fixes if word in text), "restore it from a backup")
        return SettingsError(f"cannot use the database {self.name}: {text}; {fix}")


def _begin(connection: sa.Connection) -> None:
    """A transaction that reads first is refused at once, not after a while, when another process writes meanwhile."""
    waits = connection.get_execution_options().get("waits", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if waits else "BEGIN")


def _reads(connection: Any, _: Any, *pragmas: str) -> None:
    # The driver begins no transactions by itself: _begin does.
    connection.isolation_level = None
    checksums.add_function(connection)
    for pragma in (f"busy_timeout={_BUSY_MS}", *(pragmas or ("query_only=ON",))):
        connection.execute(f"PRAGMA {pragma}")


def _durable(connection: Any, record: Any) -> None:
    _reads(connection, record, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
    # After a failed sync the write-ahead log may hold what only the page cache knows; what follows it would be lost
    # with the power. The database file is synced before anything else is written.
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("the write-ahead log is locked")


def _damaged_rows(connection: sqlite3.Connection, columns: Mapping[str, set[str]]) -> str:
    """Describes the first table that lacks one of its ``columns`` or has rows that do not match their checksums; empty
    if there is none."""
    found: dict[str, set[str]] = {name: set() for name in columns}
    query = "SELECT t.name, x.name FROM sqlite_master t, pragma_table_xinfo(t.name) x WHERE t.type = 'table'"
    for table, column in connection.execute(query):
        found.setdefault(table, set()).add(column)
    for table, names in found.items():
        if missing := columns.get(table, set()) - names:
            return f"table {table} lacks {', '.join(sorted(missing))}"
        if checksums.COLUMN not in names:
            continue
        broken = f"{checksums.expression(names - {checksums.COLUMN})} IS NOT {checksums.COLUMN}"
        (count,) = connection.execute(f"SELECT count(*) FROM {table} WHERE {broken}").fetchone()
        if count:
            return f"table {table}: {count} records do not match their checksums"
    return ""


def _mistrusts(context: sa.engine.ExceptionContext) -> None:
    """Closes the connection after an error of the disk, so that nothing of its state is relied on."""
    code = getattr(context.original_exception, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_IOERR and context.connection is not None:
        context.is_disconnect = True
