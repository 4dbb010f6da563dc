"""`cco db`: the version of the records, and the way to the newest."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import postgres
from tests.support.commands import Done, fails, in_process, printed
from tests.support.sidecars import Deployment, records_file

from cco_sidecar.storage.sql import migrating
from cco_sidecar.testing.process import SidecarProcess

Db = Callable[[str], Done]


def db_of(storage: Path, **more: str) -> Db:
    """The command for a storage directory. Its sidecar does not listen where the environment says."""
    environment = {"CCO_SIDECAR_STORAGE": str(storage)} | more
    return lambda act: in_process("db", act, environment=environment)


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Db:
    """Without a sidecar, whose records would be in a database that is empty."""
    if request.param == "sqlite":
        return db_of(tmp_path / "storage")
    url = postgres.database_of(request.getfixturevalue("postgres_url"), str(tmp_path))
    return db_of(tmp_path / "storage", CCO_SIDECAR_DATABASE_URL=url)


def test_an_empty_database_is_migrated_once(db: Db) -> None:
    newest = migrating.newest()
    before = db("check")
    assert before.returncode == 1 and "has no records yet" in before.stdout
    assert printed(db("migrate")).endswith(f" was migrated from an empty database to {newest}\n")
    assert printed(db("check")).endswith(f" has version {newest}, the newest, and is sound\n")
    assert printed(db("migrate")).endswith(f" has version {newest} already\n")


def test_a_running_sidecar_is_not_migrated(deployment: Deployment) -> None:
    sidecar = deployment.start()
    db = db_of(sidecar.storage, **SidecarProcess.defaults_for(sidecar.storage))
    fails(db("migrate"), "in use by another sidecar")


def test_versions_and_damage_are_told_apart(deployment: Deployment) -> None:
    sidecar = deployment.start()
    path = records_file(sidecar.storage)
    db = db_of(sidecar.storage)
    assert "the newest, and is sound" in printed(db("check"))
    sidecar.stop()
    for version, says in (
        ("0009", "'cco db migrate', or the next start, brings it to"),
        ("9999", "of a later release"),
    ):
        with contextlib.closing(sqlite3.connect(path)) as own, own:
            own.execute("UPDATE alembic_version SET version_num = ?", (version,))
        done = db("check")
        assert done.returncode == 1 and f"has version {version}" in done.stdout and says in done.stdout
    path.write_bytes(b"no database" * 1000)
    fails(db("check"), "is damaged")
