"""Databases of both kinds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.support import postgres

from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.sql.base import Backend
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.postgres import PostgreSQL
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """An empty database."""
    if request.param == "sqlite":
        return Sqlite(tmp_path / "records.db")
    return PostgreSQL(postgres.database_of(request.getfixturevalue("postgres_url"), str(tmp_path)))


@pytest.fixture
def open_stores(backend: Backend) -> Iterator[Callable[[], Awaitable[Stores]]]:
    """Opens the database. Opening a shared database again acts as another process; SQLite has a single process, so
    there it returns the same stores.
    """
    opened: list[Database] = []
    only: list[Stores] = []

    async def open_once() -> Stores:
        if only and not backend.shared:
            return only[0]
        database = Database(backend)
        opened.append(database)
        only.append(SqlStores(database))
        return only[-1]

    yield open_once
    for database in opened:
        database.close()
