"""PostgreSQL."""

from __future__ import annotations

import contextlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage.sql.base import VERSION, Claim, Claimed

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
# For PostgreSQL 14 and later, which can end idle sessions.
_KEEP_SESSION = """
    SELECT set_config('idle_session_timeout', '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'
"""
# SQLSTATE after lock_timeout (PostgreSQL, appendix A).
_LOCK_NOT_AVAILABLE = "55P03"
# Of a write at a standby.
_READ_ONLY = "25006"
# Of a deadlock, and of a transaction that cannot be put in an order with another.
_PASSES = frozenset({"40P01", "40001"})
# A process that is paused within a transaction must not hold up the others: the leader's lease is longer.
_IDLE_IN_TRANSACTION = "5s"


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

    def engine(self, *, reads: bool = False) -> sa.Engine:
        given: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": _UNANSWERED_MS}
        # After a failover the address may lead to a standby for a while.
        given["target_session_attrs"] = "read-write"
        wanted = {name: value for name, value in given.items() if name not in self._url.query}
        try:
            engine = sa.create_engine(
                self._url,
                pool_size=1,
                # Detect a connection that the server closed before using it.
                pool_pre_ping=True,
                max_overflow=0,
                connect_args={"client_encoding": "utf8", **wanted},
                hide_parameters=True,
            )
        except ModuleNotFoundError as problem:
            raise SettingsError(
                "database_url: PostgreSQL needs the driver psycopg; fix: pip install 'cco-sidecar[postgres]'"
            ) from problem
        sa.event.listen(engine, "connect", _prepared)
        sa.event.listen(engine, "handle_error", _leaves_standby)
        return engine.execution_options(postgresql_readonly=True) if reads else engine

    def insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table)

    def lock_migrations(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))

    def lock(self, connection: sa.Connection, name: str) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    def why_not_written(self, problem: BaseException | None) -> str:
        # While it was used, or when it is connected to (libpq, target_session_attrs).
        read_only = getattr(problem, "sqlstate", None) == _READ_ONLY or "session is read-only" in str(problem)
        return "the server is a standby, or read-only." if read_only else ""

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
        return str(self._asked(VERSION) or "") if tables else ""

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


def _leaves_standby(context: sa.engine.ExceptionContext) -> None:
    """Closes a connection to a server that has become read-only, so that the next one leads to where writes go."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
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
