"""A database server that goes away and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support import postgres
from tests.support.sidecars import serving, until

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.postgres import PostgreSQL


def test_the_sidecar_reports_a_database_that_is_away_and_uses_it_again(tmp_path: Path, root: Path) -> None:
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.Cluster(binaries) as cluster:
        environment = {"CCO_SIDECAR_DATABASE_URL": cluster.url}
        with serving(tmp_path, root, environment=environment) as sidecar:
            agent = sidecar.agent("python-specialist", issue="issue-1")
            result = {"agent_type": agent.type, "issue_id": agent.issue, "result": {"status": "success"}}

            def store() -> int:
                return sidecar.request("POST", "/api/results", agent, json=result).status_code

            assert store() == 201
            cluster.stop()
            assert store() in (500, 503)
            until(lambda: sidecar.request("GET", "/health").status_code == 503, "an unhealthy sidecar")
            cluster.start()
            until(lambda: sidecar.request("GET", "/health").status_code == 200, "a healthy sidecar")
            assert store() == 201
            kept = sidecar.request("GET", "/api/results?issue_id=issue-1", agent).json()["results"]
            assert len(kept) == 2


async def test_a_server_that_was_a_standby_for_a_while_is_written_again(postgres_url: str) -> None:
    """As after a failover, while the address still leads to the server that lost: reads go on, writes are refused."""
    backend = PostgreSQL(postgres_url)
    database, engine = Database(backend), backend.engine()
    delete = sa.text("DELETE FROM revocations")
    with contextlib.ExitStack() as opened:
        opened.callback(database.close)
        opened.callback(engine.dispose)
        admin = opened.enter_context(engine.connect().execution_options(isolation_level="AUTOCOMMIT"))

        async def becomes(read_only: str, outcome: str) -> None:
            admin.exec_driver_sql(f"ALTER SYSTEM SET default_transaction_read_only = {read_only}")
            admin.exec_driver_sql("SELECT pg_reload_conf()")
            async with asyncio.timeout(20):
                while await written() != outcome:
                    await asyncio.sleep(0)

        async def written() -> str:
            try:
                await database.write(lambda connection: connection.execute(delete))
            except SidecarError as problem:
                return "a standby" if "the server is a standby" in problem.message else problem.message
            return ""

        opened.callback(admin.exec_driver_sql, "SELECT pg_reload_conf()")
        opened.callback(admin.exec_driver_sql, "ALTER SYSTEM RESET default_transaction_read_only")
        backend_pid = sa.text("SELECT pg_backend_pid()")
        before = await database.read(lambda connection: connection.execute(backend_pid).scalar())
        await becomes("on", "a standby")
        # A new connection leads to it, too, and is not used.
        assert await written() == "a standby"
        await becomes("off", "")
        # The connection that was refused would lead to the standby for ever.
        assert await database.read(lambda connection: connection.execute(backend_pid).scalar()) != before
