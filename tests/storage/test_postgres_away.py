"""A database server that goes away and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import postgres
from tests.support.sidecars import serving, until


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
