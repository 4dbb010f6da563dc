"""Sidecars with their own config, and waiting for their effects."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.support.clocked import free_ports
from tests.support.repositories import commit_all

from cco_sidecar.storage.sql import checksums
from cco_sidecar.testing.process import Agent, SidecarProcess

T = TypeVar("T")
_numbers = count(1)


def fresh(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{next(_numbers)}"


def small_repository(path: Path) -> Path:
    """A repository with a single file, whose contexts are built instantly."""
    path.mkdir()
    (path / "README.md").write_text("# Small\n")
    commit_all(path)
    return path


def written(path: Path, **sections: Any) -> Path:
    """A config file."""
    path.write_text(json.dumps(sections))
    return path


def records_file(storage: Path) -> Path:
    """The SQLite file, for a test that opens or locks it; with ``--postgres`` the test is skipped."""
    if "CCO_SIDECAR_DATABASE_URL" in SidecarProcess.defaults_for(storage):
        pytest.skip("opens records.db itself")
    return storage / "records.db"


def open_records(storage: Path) -> sqlite3.Connection:
    """Opens the database of a sidecar, which may be running, to change it behind its back."""
    connection = sqlite3.connect(records_file(storage), timeout=10)
    checksums.add_function(connection)
    return connection


def until(probe: Callable[[], T], what: str, timeout: float = 60.0) -> T:
    """Waits until ``probe`` returns a true value, and returns it."""
    deadline = time.monotonic() + timeout
    while not (found := probe()):
        assert time.monotonic() < deadline, f"timed out after {timeout:g} s waiting for {what}; last value: {found!r}"
        time.sleep(0.02)
    return found


def port_options() -> list[str]:
    """Options with two unused ports, for sidecars that follow one another on them."""
    one, two = free_ports()
    return ["--port", str(one), "--grpc-port", str(two)]


@contextlib.contextmanager
def serving(
    directory: Path,
    root: Path,
    *options: str,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[SidecarProcess]:
    """A sidecar with its storage below ``directory``; it must end without errors on stderr."""
    running = SidecarProcess(directory / "storage", root, *options, config=config, environment=environment)
    try:
        yield running
    finally:
        complaints = running.stop()
    assert complaints == ""


def start_refused(directory: Path, root: Path, config: Path, environment: Mapping[str, str] | None = None) -> str:
    """The one error line of a sidecar that does not start."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "cco_sidecar.cli.main", "--config", str(config), "orchestration-server", "--port", "0",
         "--storage", str(directory / "storage"), "--project-root", str(root)],
        env=clean | {"HOME": str(directory)} | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        started = any("Ready to coordinate" in line for line in process.stdout)
        if started:
            process.kill()
        said = process.communicate(timeout=30)[1]
    assert not started, "it started"
    assert process.returncode == 1, (process.returncode, said)
    assert "Traceback" not in said and said.count("\n") == 1, said
    return said


class Deployment:
    """One storage directory, and the consecutive sidecars on it."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory = directory
        self._root = root
        self._running: SidecarProcess | None = None

    def start(self, config: Path | None = None, environment: Mapping[str, str] | None = None) -> SidecarProcess:
        """Starts a sidecar; kills the running one first."""
        self.kill()
        self._running = SidecarProcess(self.directory / "storage", self._root, config=config, environment=environment)
        return self._running

    def kill(self) -> None:
        """With SIGKILL; the agents keep running."""
        if self._running is not None:
            running, self._running = self._running, None
            running.kill()

    def stop(self) -> str:
        """Ends the last sidecar with its agents; returns what it wrote to stderr."""
        if self._running is None:
            return ""
        running, self._running = self._running, None
        return running.stop()


def call(sidecar: SidecarProcess, method: str, path: str, agent: Agent | None = None, **more: Any) -> Any:
    """The JSON of a call that must succeed; by the operator unless an agent is given."""
    answer = sidecar.request(method, path, agent or sidecar.operator, **more)
    assert answer.status_code < 300, (answer.status_code, answer.text)
    return answer.json()


def refused(sidecar: SidecarProcess, status: int, code: str, method: str, path: str, agent: Agent, **more: Any) -> Any:
    """The error body of a call that must fail."""
    answer = sidecar.request(method, path, agent, **more)
    assert (answer.status_code, answer.json().get("code")) == (status, code), (answer.status_code, answer.text)
    return answer.json()


def publish(sidecar: SidecarProcess, project: str, event_type: str, agent: Agent | None = None, **data: Any) -> str:
    """Publishes as the operator or as the agent; returns the event's id."""
    body = {"topic": "testing", "data": data} | ({} if agent else {"project_id": project})
    event_id: str = call(sidecar, "POST", f"/api/events/{event_type}", agent, json=body)["event_id"]
    return event_id


def publish_all(sidecar: SidecarProcess, project: str, event_type: str, data: Sequence[Mapping[str, Any]]) -> list[str]:
    """Publishes many events in one group commit; returns their ids."""
    events = [{"event_type": event_type, "topic": "testing", "data": each, "project_id": project} for each in data]
    ids: list[str] = call(sidecar, "POST", "/api/events:publish", json={"events": events})["event_ids"]
    assert len(ids) == len(data)
    return ids


def events(sidecar: SidecarProcess, project: str, *event_types: str) -> list[dict[str, Any]]:
    """The retained events of a project, oldest first, optionally of the named types only."""
    found: list[dict[str, Any]] = []
    since: str | None = "0"
    while since is not None:
        page = call(sidecar, "GET", f"/api/events?project_id={project}&limit=1000&since={since}")
        found += page["events"]
        since = page["next_cursor"]
    return [event for event in found if not event_types or event["event_type"] in event_types]


def agents(sidecar: SidecarProcess, project: str) -> list[dict[str, Any]]:
    """The agents of a project, oldest first."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = call(sidecar, "GET", f"/api/agents?project_id={project}&limit=1000&cursor={cursor}")
        found += page["agents"]
        cursor = page["next_cursor"]
    return found[::-1]
