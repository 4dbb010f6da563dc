"""The differences between databases: how to connect, and how to interpret errors."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage.sql import checksums
from cco_sidecar.storage.sql.schema import metadata

_CONNECT_SECONDS = 10
# A server that does not acknowledge what was sent for so long is gone.
_UNANSWERED_MS = 8000
# Arbitrary keys of advisory locks: one of several processes that start at once migrates, and one sidecar uses the
# database.
_MIGRATION_LOCK = 0x6363_6F00
_OWNER_LOCK = 0x6363_6F01
# Who holds an advisory lock of this database (PostgreSQL, section 54.12).
_HOLDERS = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = :key
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_CLAIM_SECONDS = 5
_NEWER = "use the newer version of the sidecar that made it, or restore it from a backup"
# For PostgreSQL 14 and later, which can end idle sessions.
_KEEP_SESSION = """
    SELECT set_config('idle_session_timeout', '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'
"""
# SQLSTATE after lock_timeout (PostgreSQL, appendix A).
_LOCK_NOT_AVAILABLE = "55P03"
# Of a deadlock, and of a transaction that cannot be put in an order with another.
_PASSES = frozenset({"40P01", "40001"})
# A process that is paused within a transaction must not hold up the others: the leader's lease is longer.
_IDLE_IN_TRANSACTION = "5s"


class Claimed(SettingsError):
    """Another sidecar uses the database."""


class Claim:
    """Keeps other sidecars from using a database until it is released."""

    def is_held(self) -> bool:
        """Whether others are still kept out. Blocks."""
        return True

    def release(self) -> None:
        """Lets others in."""


_VERSION = "SELECT version_num FROM alembic_version"


class Backend(Protocol):
    """A kind of database.

    ``shared`` is true if other processes may change the records. ``name`` is for messages and contains no password.
    """

    shared: bool
    name: str

    def engine(self) -> sa.Engine:
        """Returns an engine whose commits are durable. Raises SettingsError."""
        ...

    def insert(self, table: sa.Table) -> Any:
        """Returns an INSERT that supports ON CONFLICT."""
        ...

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Waits, in the transaction that migrates, until no other process migrates the database."""
        ...

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Waits until no other process is in a transaction that has a lock of this name, which ends with this one."""
        ...

    def may_pass(self, problem: BaseException | None) -> bool:
        """Whether a transaction failed only because of another one at the same time."""
        ...

    def claim(self, *, shared: bool = False) -> Claim:
        """Keeps other sidecars from using the database; with ``shared``, only those that want it for themselves. Raises
        Claimed if one of them uses it, SettingsError."""
        ...

    def is_claimed(self) -> bool:
        """Whether a sidecar uses the database. Raises SettingsError."""
        ...

    def check(self) -> None:
        """Connects once, and reads. Raises SettingsError if the database cannot be used."""
        ...

    def version(self) -> str:
        """Returns the version of the database, such as ``0014``; empty if it has no tables. Raises SettingsError."""
        ...

    def damage_of(self, problem: BaseException | None) -> str:
        """Describes damage to the stored data; empty for any other error, such as a full disk."""
        ...

    def integrity(self) -> str:
        """Checks the whole migrated database on a separate connection and describes any damage; empty if there is
        none."""
        ...

    def unusable(self, problem: Exception) -> SettingsError:
        """Returns the error that stops the start, with a fix where there is one."""
        ...


class Sqlite:
    """SQLite: one file, for one process (WAL, synchronous=FULL)."""

    shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def engine(self) -> sa.Engine:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self._path)),
            poolclass=sa.StaticPool,
            connect_args={"check_same_thread": False},
            # Keep tasks and environments out of logged errors.
            hide_parameters=True,
        )
        sa.event.listen(engine, "connect", _durable)
        sa.event.listen(engine, "handle_error", _mistrusts)
        # _durable switches off the driver's implicit transactions.
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Does nothing: the lock of the storage directory keeps other processes out."""

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Does nothing: one process uses the file."""

    def may_pass(self, problem: BaseException | None) -> bool:
        return False

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
                rows = own.execute(_VERSION).fetchall() if tables else []
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
            ("revision", _NEWER),
        )
        fix = next((fix for word, fix in fixes if word in text), "restore it from a backup")
        return SettingsError(f"cannot use the database {self.name}: {text}; {fix}")


class PostgreSQL:
    """PostgreSQL: a database server. Sidecars share a database if they share their events too (ADR 0041)."""

    shared = True

    def __init__(self, url: str) -> None:
        """``url`` is ``postgresql://user:password@host:port/database``, with libpq parameters. Raises SettingsError."""
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as problem:
            raise SettingsError(f"invalid database_url {url.partition(':')[0]}:...: expected a URL") from problem
        self._url = parsed.set(drivername="postgresql+psycopg")
        # The parameters may contain passwords too.
        self.name = parsed.set(query={}).render_as_string(hide_password=True)

    def engine(self) -> sa.Engine:
        given = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": _UNANSWERED_MS}
        timeout = {name: value for name, value in given.items() if name not in self._url.query}
        try:
            engine = sa.create_engine(
                self._url,
                pool_size=1,
                # Detect a connection that the server closed before using it.
                pool_pre_ping=True,
                max_overflow=0,
                connect_args={"client_encoding": "utf8", **timeout},
                hide_parameters=True,
            )
        except ModuleNotFoundError as problem:
            raise SettingsError(
                "database_url: PostgreSQL needs the driver psycopg; fix: pip install 'cco-sidecar[postgres]'"
            ) from problem
        sa.event.listen(engine, "connect", _prepared)
        return engine

    def insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table)

    def lock_migrations(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))

    def lock(self, connection: sa.Connection, name: str) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    def may_pass(self, problem: BaseException | None) -> bool:
        return getattr(problem, "sqlstate", None) in _PASSES

    def claim(self, *, shared: bool = False) -> Claim:
        """Takes a lock for as long as a connection of its own is open. Waits, because the server may need a moment to
        notice that a killed sidecar is gone."""
        opened = contextlib.ExitStack()
        try:
            engine = self.engine()
            opened.callback(engine.dispose)
            connection = opened.enter_context(engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(_KEEP_SESSION)
            connection.exec_driver_sql(f"SET lock_timeout = '{_CLAIM_SECONDS}s'")
            lock = sa.func.pg_advisory_lock_shared if shared else sa.func.pg_advisory_lock
            connection.execute(sa.select(lock(_OWNER_LOCK)))
        except sa.exc.DBAPIError as problem:
            opened.close()
            if getattr(problem.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise Claimed(
                    f"another sidecar uses the database {self.name}; each needs a database of its own, unless all have "
                    "their events in NATS (bus_url)"
                ) from problem
            raise self.unusable(problem) from problem
        except SettingsError:
            opened.close()
            raise
        return _SessionLock(connection, opened)

    def is_claimed(self) -> bool:
        return bool(self._asked(_HOLDERS, key=_OWNER_LOCK))

    def check(self) -> None:
        self._asked("SELECT 1")

    def version(self) -> str:
        tables = self._asked("SELECT 1 FROM pg_tables WHERE tablename = 'alembic_version'")
        return str(self._asked(_VERSION) or "") if tables else ""

    def _asked(self, query: str, **values: Any) -> Any:
        """Returns the first value of a query on a connection of its own. Raises SettingsError."""
        engine = self.engine()
        try:
            with engine.connect() as connection:
                return connection.execute(sa.text(query), values).scalar()
        except sa.exc.DBAPIError as problem:
            raise self.unusable(problem) from problem
        finally:
            engine.dispose()

    def damage_of(self, problem: BaseException | None) -> str:
        """Uses SQLSTATE: XX001 is data_corrupted, XX002 is index_corrupted (PostgreSQL, appendix A)."""
        code = getattr(problem, "sqlstate", None) or ""
        return str(problem) if code in ("XX001", "XX002") else ""

    def integrity(self) -> str:
        """Returns an empty string: the server checks its own files."""
        return ""

    def unusable(self, problem: Exception) -> SettingsError:
        reason = str(getattr(problem, "orig", problem)).strip().splitlines()
        return SettingsError(f"cannot use the database {self.name}: {reason[0] if reason else 'no reason given'}")


def backend_of(url: str | None, path: Path) -> Backend:
    """Returns PostgreSQL for a URL, otherwise SQLite at ``path``."""
    return PostgreSQL(url) if url else Sqlite(path)


def _durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    checksums.add_function(connection)
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
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


def _prepared(connection: Any, _: Any) -> None:
    """Prepares a new connection to PostgreSQL. Not with the parameter ``options``, which poolers refuse."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        connection.close()
        raise SettingsError(
            f"the database's encoding is {encoding}, expected UTF8; create it with createdb -E UTF8 -T template0"
        )
    connection.autocommit = True
    connection.execute("SET synchronous_commit = on")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION}'")
    connection.autocommit = False


class _SessionLock(Claim):
    """An advisory lock, which the server releases when its connection ends."""

    def __init__(self, connection: sa.Connection, opened: contextlib.ExitStack) -> None:
        self._connection = connection
        self._opened = opened

    def is_held(self) -> bool:
        try:
            self._connection.execute(sa.select(1))
            return True
        except sa.exc.SQLAlchemyError:
            # The connection was lost, or the lock was released.
            return False

    def release(self) -> None:
        self._opened.close()
