"""The SQL stores, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from tests.storage.contract import *  # noqa: F403
from tests.storage.contract_consumers import *  # noqa: F403
from tests.storage.contract_documents import *  # noqa: F403
from tests.storage.contract_knowledge import *  # noqa: F403
from tests.storage.contract_schedules import *  # noqa: F403
from tests.storage.contract_schemas import *  # noqa: F403
from tests.storage.contract_sessions import *  # noqa: F403
from tests.storage.contract_webhooks import *  # noqa: F403

from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.sql import checksums, postgres, sqlite, words
from cco_sidecar.storage.sql.base import Backend
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.postgres import PostgreSQL
from cco_sidecar.storage.sql.schema import metadata
from cco_sidecar.storage.sql.sqlite import Sqlite

# A generated column that is stored (sqlite.org/pragma.html#pragma_table_xinfo).
_STORED = 3


def test_migrations_make_the_schema(backend: Backend) -> None:
    database = Database(backend)

    def compare(connection: sa.Connection) -> list[object]:
        opts = {
            "compare_type": True,
            "include_name": lambda name, *_: (
                name != checksums.COLUMN and not str(name).startswith((words.DOCUMENT_WORDS, words.KNOWLEDGE_WORDS))
            ),
        }
        context = alembic.migration.MigrationContext.configure(connection, opts=opts)
        return list(alembic.autogenerate.compare_metadata(context, metadata))

    try:
        assert database.run_now(compare) == []
    finally:
        database.close()


def test_each_table_has_checksums(tmp_path: Path) -> None:
    Database(Sqlite(tmp_path / "records.db")).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        for table in metadata.tables:
            columns = {name: kind for _, name, *_, kind in connection.execute(f"PRAGMA table_xinfo({table})")}
            assert columns.pop(checksums.COLUMN) == _STORED, table
            (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
            assert checksums.expression(columns) in sql


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
    monkeypatch.setattr(postgres, "_CLAIM_SECONDS", 1)
    first = Database(PostgreSQL(postgres_url), exclusive=True)
    with pytest.raises(SettingsError, match="another sidecar uses the database"):
        Database(PostgreSQL(postgres_url), exclusive=True)
    assert PostgreSQL(postgres_url).is_claimed()
    first.close()
    assert not PostgreSQL(postgres_url).is_claimed()
    Database(PostgreSQL(postgres_url), exclusive=True).close()


async def test_a_lost_claim_is_taken_again_or_nothing_is_written(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_CLAIM_SECONDS", 1)
    monkeypatch.setattr("cco_sidecar.storage.sql.database._CLAIM_CHECK_SECONDS", 0.01)
    end_holder = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1667460865"
    )
    database, other = Database(PostgreSQL(postgres_url), exclusive=True), Database(PostgreSQL(postgres_url))
    keeping = asyncio.create_task(database.keep_claim())
    try:
        await other.write(lambda connection: connection.execute(end_holder).all())
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(PostgreSQL(postgres_url).is_claimed):
                await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.wait({keeping})
        await other.write(lambda connection: connection.execute(end_holder).all())
        thief = Database(PostgreSQL(postgres_url), exclusive=True)
        keeping = asyncio.create_task(database.keep_claim())
        async with asyncio.timeout(10):
            while "another sidecar" not in await database.problem():
                await asyncio.sleep(0.01)
        with pytest.raises(SidecarError, match="another sidecar uses the database"):
            await database.write(lambda connection: connection.execute(sa.select(1)).all())
        thief.close()
        async with asyncio.timeout(10):
            while await database.problem():
                await asyncio.sleep(0.01)
        await database.write(lambda connection: connection.execute(sa.select(1)).all())
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        database.close()
        other.close()


async def test_a_first_search_holds_no_change_up(tmp_path: Path) -> None:
    """It opens a connection while a transaction is under way, and cannot change anything itself."""
    backend = Sqlite(tmp_path / "records.db")
    database = Database(backend)
    reading = backend.engine(reads=True)

    def change(connection: sa.Connection) -> int:
        rows = connection.exec_driver_sql("SELECT count(*) FROM results").scalar_one()
        with reading.begin() as beside:
            assert beside.exec_driver_sql("SELECT count(*) FROM results").scalar_one() == rows
            with pytest.raises(sa.exc.OperationalError, match="readonly"):
                beside.exec_driver_sql("DELETE FROM results")
            return connection.exec_driver_sql("DELETE FROM results").rowcount

    try:
        assert await database.write(change) == 0
    finally:
        reading.dispose()
        database.close()


async def test_a_change_is_made_again_when_another_program_wrote_meanwhile(tmp_path: Path) -> None:
    database = Database(Sqlite(tmp_path / "records.db"))
    attempts: list[int] = []

    def change(connection: sa.Connection) -> None:
        attempts.append(connection.exec_driver_sql("SELECT count(*) FROM revocations").scalar_one())
        if len(attempts) == 1:
            with contextlib.closing(sqlite3.connect(tmp_path / "records.db")) as other:
                other.execute("CREATE TABLE other (a)")
        connection.exec_driver_sql("DELETE FROM revocations")

    try:
        await database.write(change)
        assert attempts == [0, 0]
    finally:
        database.close()


async def test_a_program_that_keeps_the_file_locked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 1)
    database = Database(Sqlite(tmp_path / "records.db"))
    other = sqlite3.connect(tmp_path / "records.db", isolation_level=None)
    delete = sa.text("DELETE FROM revocations")
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SidecarError, match="another program has locked it") as refused:
            await database.write(lambda connection: connection.execute(delete))
        assert refused.value.code == "STR_001"
        # What only reads goes on.
        assert await database.read(lambda c: c.execute(sa.text("SELECT count(*) FROM revocations")).scalar()) == 0
        other.execute("ROLLBACK")
        await database.write(lambda connection: connection.execute(delete))
    finally:
        other.close()
        database.close()


async def test_a_database_that_hangs_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cco_sidecar.storage.sql.database._HANGING_SECONDS", 0.0)
    database, release = Database(Sqlite(tmp_path / "records.db")), Event()
    try:
        assert await database.problem() == ""
        hanging = asyncio.create_task(database.read(lambda _: release.wait(10)))
        await asyncio.sleep(0)
        assert await database.problem() == "the database does not answer"
        release.set()
        await hanging
        async with asyncio.timeout(10):
            while await database.problem():
                await asyncio.sleep(0)
    finally:
        release.set()
        database.close()


def test_a_database_that_is_not_utf8_is_refused(postgres_url: str) -> None:
    engine = PostgreSQL(postgres_url).engine()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    engine.dispose()
    with pytest.raises(SettingsError, match="encoding is LATIN1, expected UTF8"):
        Database(PostgreSQL(postgres_url.replace("/postgres?", "/latin?")))


@pytest.mark.parametrize("name", ["a?b", "a#b", "p%41", "a b"])
def test_a_path_is_taken_literally(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    Database(Sqlite(tmp_path / name / "records.db")).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "records.db").exists()


async def test_a_text_with_nul_is_refused_or_not_found(open_stores: Callable[[], Awaitable[Stores]]) -> None:
    """SQLite compares it; PostgreSQL cannot. Neither is an error of the server."""
    stores = await open_stores()
    try:
        assert await stores.agents.by_id("python-specialist\0") is None
    except SidecarError as refused:
        assert refused.code == "REQ_001" and "NUL" in refused.message
