"""A database that is damaged while it is in use, or before the start."""

from __future__ import annotations

from pathlib import Path

from tests.support.sidecars import Deployment, until

_HEADER = 100


def spoil(database: Path) -> None:
    """Overwrites every page but the header's: SQLite then reports `database disk image is malformed`."""
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(_HEADER)
        file.write(b"\xa5" * (size - _HEADER))


def test_a_damaged_database_is_unhealthy_and_named(deployment: Deployment) -> None:
    sidecar = deployment.start()
    sidecar.agent()
    assert sidecar.request("GET", "/health").json()["status"] == "healthy"
    # The write-ahead log would still have the pages.
    deployment.kill()
    storage = deployment.directory / "storage"
    for log in storage.glob("records.db-*"):
        log.unlink()
    spoil(storage / "records.db")
    try:
        broken = deployment.start()
    except RuntimeError as problem:
        assert "records.db" in str(problem) and "damaged" in str(problem) and "Traceback" not in str(problem)
        return
    health = until(
        lambda: (answer := broken.request("GET", "/health")).status_code == 503 and answer.json(),
        "the damage to be seen",
    )
    assert health["status"] == health["checks"]["storage"] == "unhealthy"
    deployment.kill()


def test_damage_at_runtime_is_found_by_the_first_failing_record(deployment: Deployment) -> None:
    sidecar = deployment.start()
    for number in range(20):
        sidecar.agent(issue=f"issue-{number}")
    sidecar = deployment.start()
    storage = deployment.directory / "storage"
    for name in ("records.db", "records.db-wal"):
        if (storage / name).exists():
            spoil(storage / name)
    asked = ("/api/results", "/api/agents", "/api/approvals", "/api/credentials")
    until(
        lambda: any(sidecar.request("GET", path, sidecar.operator).status_code == 500 for path in asked),
        "a record that cannot be read",
    )
    health = sidecar.request("GET", "/health")
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
    deployment.kill()
