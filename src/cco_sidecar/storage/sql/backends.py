"""What differs between the databases: how one is opened, and how its troubles are named."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cco_sidecar.core.errors import SettingsError

_CONNECT_SECONDS = 10


class Backend(Protocol):
    """``shared``: other processes may change the records. ``name``: for messages; without a password."""

    shared: bool
    name: str

    def engine(self) -> sa.Engine:
        """Commits are durable."""
        ...

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT."""
        ...

    def damage_of(self, problem: BaseException | None) -> str:
        """What is wrong with the stored data; empty for a trouble of the statement or of the space that is left."""
        ...

    def integrity(self) -> str:
        """The same after a look at all of it, in a connection of its own; empty when nothing was found."""
        ...

    def unusable(self, problem: sa.exc.DBAPIError) -> SettingsError: ...


class Sqlite:
    """One file, for one process (WAL, synchronous=FULL)."""

    shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def engine(self) -> sa.Engine:
        engine = sa.create_engine(
            f"sqlite:///{self._path}",
            poolclass=sa.StaticPool,
            connect_args={"check_same_thread": False},
            # A logged error shows no task and no environment.
            hide_parameters=True,
        )
        sa.event.listen(engine, "connect", _durable)
        # The driver's own idea of when a transaction begins is switched off in _durable.
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def damage_of(self, problem: BaseException | None) -> str:
        """By the result code (sqlite.org/rescode.html)."""
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        return str(problem) if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else ""

    def integrity(self) -> str:
        """By ``PRAGMA quick_check``."""
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
    """A database on a server, for any number of processes."""

    shared = True

    def __init__(self, url: str) -> None:
        """``url``: ``postgresql://user:password@host:port/database``, with libpq's parameters. Raises SettingsError."""
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError as problem:
            raise SettingsError(f"database_url: {url.partition(':')[0]}:... is not a URL") from problem
        self._url = parsed.set(drivername="postgresql+psycopg")
        self.name = parsed.render_as_string(hide_password=True)

    def engine(self) -> sa.Engine:
        try:
            return sa.create_engine(
                self._url,
                pool_size=1,
                # A connection that the server ended is noticed before it is used.
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

    def damage_of(self, problem: BaseException | None) -> str:
        """Class XX: internal errors, data corrupted among them (PostgreSQL, appendix A)."""
        code = getattr(problem, "sqlstate", None) or ""
        return str(problem) if code in ("XX001", "XX002") else ""

    def integrity(self) -> str:
        """The server looks after its own files."""
        return ""

    def unusable(self, problem: sa.exc.DBAPIError) -> SettingsError:
        reason = str(problem.orig).strip().splitlines()
        return SettingsError(f"cannot use the database {self.name}: {reason[0] if reason else 'no reason given'}")


def backend_of(url: str | None, path: Path) -> Backend:
    """PostgreSQL for a URL, else SQLite at ``path``."""
    return PostgreSQL(url) if url else Sqlite(path)


def _durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
