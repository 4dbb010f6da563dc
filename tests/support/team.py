"""Several sidecars on one PostgreSQL and one NATS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import postgres
from tests.support.nats import prefix_of
from tests.support.sidecars import until, written

from cco_sidecar.testing.process import SidecarProcess

SECRET = "a-secret-that-all-sidecars-of-a-team-share"


class Team:
    """Sidecars that share records and events. ``sections``: of the config of each."""

    def __init__(self, directory: Path, root: Path, database: str, bus: str, **sections: Any) -> None:
        self.directory, self.root = directory, root
        place = str(directory.resolve())
        self.environment = {
            "CCO_SIDECAR_DATABASE_URL": postgres.database_of(database, place),
            "CCO_SIDECAR_BUS_URL": bus,
            "CCO_SIDECAR_BUS_PREFIX": prefix_of(place),
            "CCO_SIDECAR_JWT_SECRET": SECRET,
        }
        self.sections = sections
        self.running: list[SidecarProcess] = []

    def start(
        self, name: str, *options: str, secret: str = SECRET, python_path: str = "", **sections: Any
    ) -> SidecarProcess:
        """Starts a sidecar, or starts it again on its storage directory; ``python_path``: where another version is.
        Raises RuntimeError if it does not start."""
        home = self.directory / name
        home.mkdir(exist_ok=True)
        config = written(home / "config.json", **(self.sections | sections))
        environment = self.environment | {"CCO_SIDECAR_JWT_SECRET": secret}
        if python_path:
            environment["PYTHONPATH"] = python_path
        made = SidecarProcess(home / "storage", self.root, *options, environment=environment, config=config)
        self.running.append(made)
        return made

    def stop(self) -> str:
        """Stops all, and returns what they complained of."""
        return "".join(each.stop() for each in self.running if each.process.poll() is None)


def cluster_of(sidecar: SidecarProcess) -> dict[str, Any]:
    """What a sidecar says of all."""
    answer = sidecar.request("GET", "/status", sidecar.operator)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["cluster"]
    return found


def leader_of(sidecar: SidecarProcess, timeout: float = 30) -> str:
    """Waits until a sidecar knows who leads, and returns its ID."""
    return until(lambda: str(cluster_of(sidecar)["leader_id"]), "a leader", timeout)


def id_of(sidecar: SidecarProcess) -> str:
    return (sidecar.storage / "sidecar-id").read_text().strip()
