"""Records through PgBouncer with session pooling, as docs/scale.md says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import postgres
from tests.support.sidecars import until

from cco_sidecar.core.announcements import of_result
from cco_sidecar.storage.sql import postgres as backend
from cco_sidecar.storage.sql.base import Claimed
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.postgres import PostgreSQL
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1.result_service_pb2 import Result
from orchestra.v1.system_service_pb2 import ClusterMember


@pytest.fixture
def pooled(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a database through PgBouncer."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    url = postgres.database_of(postgres_url, str(tmp_path))
    name = url.partition("?")[0].rpartition("/")[2]
    # It refuses to run as root, and shares the directory of the server's socket.
    sockets = Path(postgres_url.partition("host=")[2])
    config = sockets / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={sockets} user=postgres\n[pgbouncer]\npool_mode = session\nauth_type = any\n"
        f"listen_addr =\nunix_socket_dir = {sockets}\nlisten_port = 6432\ndefault_pool_size = 20\n"
    )
    run_as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    running = subprocess.Popen([program, str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **run_as)  # type: ignore[call-overload]
    try:
        until(lambda: (sockets / ".s.PGSQL.6432").exists() or running.poll() is not None, "PgBouncer")
        assert running.poll() is None, running.stdout.read()
        yield f"postgresql://postgres@/{name}?host={sockets}&port=6432"
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=20)


async def test_two_sidecars_share_their_records(pooled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_CLAIM_SECONDS", 1)
    one, two = (Database(PostgreSQL(pooled), shared=True, sidecar_id=name) for name in ("a", "b"))
    try:
        a, b = (SqlStores(each, sidecar_id=name, shared=True) for each, name in ((one, "a"), (two, "b")))
        for stores, name in ((a, "a"), (b, "b")):
            await stores.cluster.join(ClusterMember(sidecar_id=name), name * 2, "")
        assert (await a.cluster.beat(ClusterMember(sidecar_id="a"), "aa")).leads
        assert not (await b.cluster.beat(ClusterMember(sidecar_id="b"), "bb")).leads
        result = Result(id="res-1", project_id="p", issue_id="i", agent_type="t")
        await a.results.add(result, "", of_result(result))
        assert len(await b.results.page("p")) == 1
        await a.handover.set_position("p", 1)
        assert await b.handover.positions() == {"p": 1}
        with pytest.raises(Claimed):
            Database(PostgreSQL(pooled), exclusive=True)
    finally:
        one.close()
        two.close()
