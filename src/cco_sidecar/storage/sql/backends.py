"""The differences between databases: how to connect, and how to interpret errors."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cco_sidecar.core.errors import SettingsError

_CONNECT_SECONDS = 10
# Arbitrary keys of advisory locks: one of several processes that start at once migrates, and one sidecar uses the
# database.
_MIGRATION_LOCK = 0x6363_6F00
_OWNER_LOCK = 0x6363_6F01
_CLAIM_SECONDS = 5
# SQLSTATE after lock_timeout (PostgreSQL, appendix A).
_LOCK_NOT_AVAILABLE = "55P03"


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

    def claim(self) -> Callable[[], None]:
        """Keeps other sidecars from using the database, and returns what ends that. Raises SettingsError if another
        one uses it."""
        ...

    def check(self) -> None:
        """Connects once, and reads. Raises SettingsError if the database cannot be used."""
        ...

    def damage_of(self, problem: BaseException | None) -> str:
        """Describes damage to the stored data; empty for any other error, such as a full disk."""
        ...

    def integrity(self) -> str:
        """Checks the whole database on a separate connection and describes any damage; empty if there is none."""
        ...

    def unusable(self, problem: sa.exc.DBAPIError) -> SettingsError:
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
            f"sqlite:///{self._path}",
            poolclass=sa.StaticPool,
            connect_args={"check_same_thread": False},
            # Keep tasks and environments out of logged errors.
            hide_parameters=True,
        )
        sa.event.listen(engine, "connect", _durable)
        # _durable switches off the driver's implicit transactions.
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Does nothing: the lock of the storage directory keeps other processes out."""

    def claim(self) -> Callable[[], None]:
        """Does nothing, for the same reason."""
        return lambda: None

    def check(self) -> None:
        if self._path.exists() and (damage := self.integrity()):
            raise SettingsError(f"the database {self.name} is damaged: {damage}")

    def damage_of(self, problem: BaseException | None) -> str:
        """Uses the result code (sqlite.org/rescode.html)."""
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        return str(problem) if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else ""

    def integrity(self) -> str:
        """Runs ``PRAGMA quick_check``."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(self.name)}?mode=ro", uri=True)) as own:
                (found,) = own.execute("PRAGMA quick_check(1)").fetchone()
            return "" if found == "ok" else str(found)
        except sqlite3.DatabaseError as problem:
            return self.damage_of(problem)

    def unusable(self, problem: sa.exc.DBAPIError) -> SettingsError:
        fix = "free some space" if "full" in str(problem.orig) else "restore it from a backup"
        return SettingsError(f"cannot use the database {self.name}: {problem.orig}; {fix}")


class PostgreSQL:
    """PostgreSQL: a database server. Each sidecar needs a database of its own (ADR 0019)."""

    shared = True

    def __init__(self, url: str) -> None:
        """``url`` is ``postgresql://user:password@host:port/database``, with libpq parameters. Raises SettingsError."""
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as problem:
            raise SettingsError(f"invalid database_url {url.partition(':')[0]}:...: expected a URL") from problem
        self._url = parsed.set(drivername="postgresql+psycopg")
        self.name = parsed.render_as_string(hide_password=True)

    def engine(self) -> sa.Engine:
        try:
            return sa.create_engine(
                self._url,
                pool_size=1,
                # Detect a connection that the server closed before using it.
                pool_pre_ping=True,
                max_overflow=0,
                connect_args={"connect_timeout": _CONNECT_SECONDS, "options": "-c synchronous_commit=on"},
                hide_parameters=True,
            )
        except ModuleNotFoundError as problem:
            raise SettingsError(
                "database_url: PostgreSQL needs the driver psycopg; fix: pip install 'cco-sidecar[postgres]'"
            ) from problem

    def insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table)

    def lock_migrations(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))

    def claim(self) -> Callable[[], None]:
        """Takes a lock for as long as a connection of its own is open. Waits, because the server may need a moment to
        notice that a killed sidecar is gone."""
        opened = contextlib.ExitStack()
        try:
            engine = self.engine()
            opened.callback(engine.dispose)
            connection = opened.enter_context(engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"SET lock_timeout = '{_CLAIM_SECONDS}s'")
            connection.execute(sa.select(sa.func.pg_advisory_lock(_OWNER_LOCK)))
        except sa.exc.DBAPIError as problem:
            opened.close()
            if getattr(problem.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise SettingsError(
                    f"another sidecar uses the database {self.name}; each needs a database of its own"
                ) from problem
            raise self.unusable(problem) from problem
        return opened.close

    def check(self) -> None:
        engine = self.engine()
        try:
            with engine.connect() as connection:
                connection.execute(sa.select(1))
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

    def unusable(self, problem: sa.exc.DBAPIError) -> SettingsError:
        reason = str(problem.orig).strip().splitlines()
        return SettingsError(f"cannot use the database {self.name}: {reason[0] if reason else 'no reason given'}")


def backend_of(url: str | None, path: Path) -> Backend:
    """Returns PostgreSQL for a URL, otherwise SQLite at ``path``."""
    return PostgreSQL(url) if url else Sqlite(path)


def _durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
