"""A storage on which sidecars run one after another."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.clocked import free_ports
from tests.support.processes import end_all
from tests.support.sidecars import records_file, written

from cco_sidecar.testing.agents import SpawnedAgent, scripted_command, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

_ATTEMPTS = 5


class Succession:
    """Its sidecars use the same ports, so that agents find the next one. ``agents``: that section of the config."""

    def __init__(self, directory: Path, root: Path, **agents: Any) -> None:
        self.storage = directory / "storage"
        self.root = root
        self._config = written(directory / "config.json", agents=agents)
        self.sidecar = self._first()

    def _first(self) -> SidecarProcess:
        for attempt in range(_ATTEMPTS):
            self._ports = free_ports()
            try:
                return self._start()
            except RuntimeError as problem:
                # Free ports may be taken by another test a moment later.
                if attempt == _ATTEMPTS - 1 or "cannot open" not in str(problem):
                    raise
        raise AssertionError

    def _start(self) -> SidecarProcess:
        ports = (f"--port={self._ports[0]}", f"--grpc-port={self._ports[1]}")
        return SidecarProcess(self.storage, self.root, *ports, config=self._config)

    def crash(self) -> None:
        """Kills the sidecar with SIGKILL; none runs until the next one is opened."""
        self.sidecar.kill()

    def open(self) -> None:
        """Starts the next sidecar."""
        self.sidecar = self._start()

    def spawn(self, steps: list[dict[str, Any]] | None = None, **options: Any) -> SpawnedAgent:
        return spawn_scripted(self.sidecar, steps, **options)

    def now(self, agent: SpawnedAgent) -> SpawnedAgent:
        """The agent at the current sidecar."""
        return SpawnedAgent(self.sidecar, agent.spawned)

    def run_of(self, agent: SpawnedAgent, attempt: int = 1) -> Path:
        return self.storage / "agents" / agent.id / str(attempt)

    def close(self) -> None:
        """Ends the sidecar; none of its agents' processes may be left."""
        errors = self.sidecar.stop() if self.sidecar.process.poll() is None else ""
        left = end_all(self.storage / "agents")
        assert (errors, left) == ("", [])


def scripted_runner(**more: Any) -> dict[str, Any]:
    """An entry of ``agents.runners`` that starts the scripted agent."""
    return {"command": scripted_command(), **more}


@contextlib.contextmanager
def writes_blocked(storage: Path) -> Iterator[None]:
    """Blocks all writes to the sidecar's database while the block runs."""
    database = sqlite3.connect(records_file(storage), isolation_level=None, timeout=10)
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
    finally:
        database.close()
