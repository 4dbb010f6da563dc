"""The SQL stores, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from tests.storage.contract import *  # noqa: F403

from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.sql import backends
from cco_sidecar.storage.sql.backends import Backend, PostgreSQL, Sqlite
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import metadata


def test_migrations_make_the_schema(backend: Backend) -> None:
    database = Database(backend)

    def compare(connection: sa.Connection) -> list[object]:
        context = alembic.migration.MigrationContext.configure(connection, opts={"compare_type": True})
        return list(alembic.autogenerate.compare_metadata(context, metadata))

    try:
        assert database.run_now(compare) == []
    finally:
        database.close()


def test_a_database_is_reopened(backend: Backend) -> None:
    for _ in range(2):
        Database(backend).close()


async def test_an_error_contains_none_of_the_row(backend: Backend) -> None:
    """The error is logged with its cause, and the row may hold a task or an environment."""
    change = sa.text("INSERT INTO nowhere VALUES (:task)").bindparams(task="s3cr3t-of-a-task")
    database = Database(backend)
    try:
        with pytest.raises(SidecarError) as failed:
            await database.write(lambda connection: connection.execute(change))
    finally:
        database.close()
    assert failed.value.code == "STR_001"
    assert "nowhere" in str(failed.value.__cause__) and "s3cr3t" not in str(failed.value.__cause__)


def test_an_unreachable_server_is_one_clear_line() -> None:
    with pytest.raises(SettingsError) as refused:
        Database(PostgreSQL("postgresql://me:s3cr3t@127.0.0.1:1/sidecar"))
    said = str(refused.value)
    assert "postgresql://me:***@127.0.0.1:1/sidecar" in said and "s3cr3t" not in said and "\n" not in said


async def test_a_connection_closed_by_the_server_is_reopened(postgres_url: str) -> None:
    database = Database(PostgreSQL(postgres_url))
    other = Database(PostgreSQL(postgres_url))
    try:
        pid = await database.read(lambda c: c.execute(sa.text("SELECT pg_backend_pid()")).scalar())
        await other.write(
            lambda c: c.execute(sa.text("SELECT pg_terminate_backend(:pid)").bindparams(pid=pid)).scalar()
        )
        assert await database.read(lambda c: c.execute(sa.text("SELECT 1")).scalar()) == 1
    finally:
        database.close()
        other.close()


@pytest.mark.parametrize(("connected", "runs"), [(True, 2), (False, 1)])
async def test_a_change_is_not_made_again_if_its_commit_may_have_succeeded(
    tmp_path: Path, connected: bool, runs: int
) -> None:
    """Two changes share a transaction whose commit fails: with the connection, or for another reason."""
    backend = Sqlite(tmp_path / "records.db")
    database = Database(backend)
    made: list[str] = []
    began, waits = Event(), Event()

    @sa.event.listens_for(sa.Engine, "commit")
    def fail(connection: sa.Connection) -> None:
        if made:
            sa.event.remove(sa.Engine, "commit", fail)
            problem = sqlite3.OperationalError("disk I/O error")
            raise sa.exc.OperationalError("COMMIT", None, problem, connection_invalidated=not connected)

    try:
        busy = asyncio.create_task(database.read(lambda _: began.set() or waits.wait(5)))
        await asyncio.to_thread(began.wait)
        changes = [asyncio.create_task(database.write(lambda _, name=name: made.append(name))) for name in "ab"]
        await asyncio.sleep(0)
        waits.set()
        await busy
        done = await asyncio.gather(*changes, return_exceptions=True)
    finally:
        database.close()
    assert made == ["a", "b"] * runs
    assert [getattr(each, "code", None) for each in done] == ([None, None] if connected else ["STR_001"] * 2)


def test_a_second_sidecar_is_refused_until_the_first_is_gone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "_CLAIM_SECONDS", 1)
    first, second = Database(PostgreSQL(postgres_url)), Database(PostgreSQL(postgres_url))
    try:
        first.claim()
        with pytest.raises(SettingsError, match="another sidecar uses the database"):
            second.claim()
        first.close()
        second.claim()
    finally:
        second.close()


async def test_a_text_with_nul_is_refused_or_not_found(open_stores: Callable[[], Awaitable[Stores]]) -> None:
    """SQLite compares it; PostgreSQL cannot. Neither is an error of the server."""
    stores = await open_stores()
    try:
        assert await stores.agents.by_id("python-specialist\0") is None
    except SidecarError as refused:
        assert refused.code == "REQ_001" and "NUL" in refused.message
