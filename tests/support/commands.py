"""The output and the exit code of a `cco` command; and a sidecar in the background."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import requests
from tests.support.clocked import free_ports

from cco_sidecar.cli.main import main
from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import SidecarProcess, run_cco

Done = subprocess.CompletedProcess[str]
CCO = [sys.executable, "-m", "cco_sidecar.cli.main"]


# Piped input that is not a valid message, and what the error line says.
NO_MESSAGES = [
    ("", "invalid JSON in -"),
    ("{'single': 'quotes'}", "invalid JSON in -"),
    ("[]", "expected an object"),
    ('{"isue_id": "issue-1"}', "has no field 'isue_id'"),
]


def environment_of(sidecar: SidecarProcess) -> dict[str, str]:
    """The environment in which `cco` finds a sidecar, for commands that `run_cco` cannot run."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    return clean | {
        "CCO_SIDECAR_PORT": str(sidecar.port),
        "CCO_SIDECAR_GRPC_PORT": str(sidecar.grpc_port),
        "CCO_SIDECAR_STORAGE": str(sidecar.storage),
        "HOME": str(sidecar.storage.parent),
    }


def in_process(*line: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Done:
    """Runs a command in this process: for what it must refuse before it calls a server."""
    out, err = io.StringIO(), io.StringIO()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    clean |= {"HOME": "/nonexistent", "SIDECAR_URL": "http://127.0.0.1:9"} | dict(environment or {})
    with (
        mock.patch.dict(os.environ, clean, clear=True),
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO())),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main(line)
    return Done(line, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def printed(done: Done) -> str:
    """The output of a successful command: plain text, and nothing on stderr but a note."""
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout


def fails(done: Done, says: str) -> None:
    """Exit 1, one clear line on stderr, nothing on stdout."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("cco: ") and done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr


def misused(done: Done, says: str) -> None:
    """Exit 2, the usage, and the error as the last line."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: ")
    last = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("Error: ") and says in last, done.stderr


def publish(sidecar: SidecarProcess, event_type: str, **data: Any) -> str:
    body = {"event_type": event_type, "topic": "testing", "data": data}
    answer = sidecar.request("POST", f"/api/events/{event_type}", sidecar.operator, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["event_id"])


def subscriptions(sidecar: SidecarProcess) -> int:
    return int(sidecar.request("GET", "/status").json()["events"]["active_subscriptions"])


def when_subscribed(sidecar: SidecarProcess, act: Callable[[], Any], *arguments: str) -> Done:
    """Runs a `cco` command that waits, and calls ``act`` as soon as it is waiting."""
    before = subscriptions(sidecar)
    ended: list[Done] = []
    waiting = threading.Thread(target=lambda: ended.append(run_cco(sidecar, *arguments)))
    waiting.start()
    while subscriptions(sidecar) == before and waiting.is_alive():
        pass
    act()
    waiting.join(60)
    return ended[0]


class Background:
    """`cco orchestration-server` with its own storage and ports."""

    def __init__(self, sidecar: SidecarProcess, storage: Path) -> None:
        self._sidecar = sidecar
        self.storage = storage
        self.port, self.grpc_port = free_ports()
        self.dashboard_port = free_ports()[0]
        self.environment = [
            # Not 3000, which may be a person's.
            ("CCO_SIDECAR_DASHBOARD_PORT", str(self.dashboard_port)),
            ("CCO_SIDECAR_PORT", str(self.port)),
            ("CCO_SIDECAR_GRPC_PORT", str(self.grpc_port)),
            ("CCO_SIDECAR_STORAGE", str(storage)),
            ("CCO_SIDECAR_PROJECT_ROOT", str(sidecar.root)),
        ]

    def cco(self, *arguments: str, **more: Any) -> Done:
        done: Done = run_cco(self._sidecar, *arguments, environment=self.environment, **more)
        return done

    def server(self, *arguments: str) -> Done:
        return self.cco("orchestration-server", *arguments)

    @property
    def said_at_start(self) -> str:
        """What a command prints that has started it in the background."""
        return (
            f"the sidecar is running in the background (pid {self.pid}) on http://127.0.0.1:{self.port}\n"
            f"the dashboard is on http://127.0.0.1:{self.dashboard_port}/; open it with 'cco dashboard'\n"
        )

    @property
    def pid(self) -> int:
        return int((self.storage / "sidecar.pid").read_text())

    def get(self, path: str, token: str = "", headers: dict[str, str] | None = None) -> requests.Response:
        headers = (headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return requests.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=10)


def started(sidecar: SidecarProcess, *command: str, issue: str = "issue-1", **body: Any) -> SpawnedAgent:
    """An agent that runs ``command``; for tests that are not about spawning."""
    wanted = {"agent_type": "python-specialist", "issue_id": issue, "command": list(command), **body}
    answer = sidecar.request("POST", "/api/agents/spawn", sidecar.operator, json=wanted)
    assert answer.status_code == 201, answer.text
    return SpawnedAgent(sidecar, answer.json())


def spawn(sidecar: SidecarProcess, *arguments: str, **more: Any) -> str:
    """The id of an agent started by `cco agent spawn`; the default type is python-specialist."""
    named = () if "--type" in arguments else ("--type", "python-specialist")
    said = printed(run_cco(sidecar, "agent", "spawn", *named, *arguments, **more))
    found = re.search(r"^(\S+) is (running \(pid \d+\)|queued, place \d+)\n", said)
    assert found is not None, said
    return found[1]
