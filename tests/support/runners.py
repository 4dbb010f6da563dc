"""Runners in their own processes, and agents that run at them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.sidecars import call, until

from cco_sidecar.testing.process import SidecarProcess


def token_for(sidecar: SidecarProcess, name: str) -> str:
    token: str = call(sidecar, "POST", f"/api/runners/{name}/token", json={})["jwt_token"]
    return token


def listed(sidecar: SidecarProcess) -> dict[str, dict[str, Any]]:
    """The runners that a sidecar knows, by ID."""
    return {each["runner_id"]: each for each in call(sidecar, "GET", "/api/runners")["runners"]}


def usable(sidecar: SidecarProcess, name: str) -> bool:
    return bool(listed(sidecar).get(name, {}).get("connected"))


class RunnerProcess:
    """`cco runner join`, with the storage directory ``home / "storage"``."""

    def __init__(
        self,
        home: Path,
        url: str,
        grpc: str,
        *options: str,
        token: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        home.mkdir(exist_ok=True)
        self.storage = home / "storage"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CCO_", "JWT_", "SIDECAR_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cco_sidecar.cli.main", "runner", "join", "--url", url, "--grpc", grpc,
             "--storage", str(self.storage), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean | {"HOME": str(home)} | ({"CCO_RUNNER_TOKEN": token} if token else {}) | dict(environment or {}),
        )  # fmt: skip

    @classmethod
    def of(cls, home: Path, sidecar: SidecarProcess, name: str, *options: str, again: bool = False) -> RunnerProcess:
        """Joins a sidecar, and waits until that knows it; ``again``: with the token of the last time."""
        token = "" if again else token_for(sidecar, name)
        made = cls(home, sidecar.url, sidecar.target, *options, token=token)
        until(lambda: usable(sidecar, name) or made.process.poll() is not None, f"runner {name}")
        assert made.process.poll() is None, made.process.communicate()
        return made

    def end(self, number: int = signal.SIGTERM) -> str:
        """Sends a signal, and returns what the runner wrote to stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.communicate(timeout=40)[1]


def spawn(sidecar: SidecarProcess, command: Sequence[str], *tags: str, **more: Any) -> str:
    """Spawns an agent that runs a command, or what is configured; returns its ID."""
    body: dict[str, Any] = {"agent_type": "python-specialist", "issue_id": "issue-123", "command": list(command)}
    answer = call(sidecar, "POST", "/api/agents/spawn", json=body | {"runner_tags": list(tags)} | more)
    agent_id: str = answer["agent_id"]
    return agent_id


def agent(sidecar: SidecarProcess, agent_id: str) -> dict[str, Any]:
    found: dict[str, Any] = call(sidecar, "GET", f"/api/agents/{agent_id}")
    return found


def ended(sidecar: SidecarProcess, agent_id: str, timeout: float = 60) -> dict[str, Any]:
    """Waits for the end of an agent."""

    def probe() -> dict[str, Any] | None:
        found = agent(sidecar, agent_id)
        return found if found.get("ended_at") else None

    return until(probe, f"the end of {agent_id}", timeout)


def output(sidecar: SidecarProcess, agent_id: str, attempt: int = 1) -> str:
    """What an attempt printed, as the sidecar has it."""
    lines = (sidecar.storage / "agents" / agent_id / str(attempt) / "output.log").read_text().splitlines()
    # After the time, the stream, and whether the line is whole.
    return "".join(f"{line.split(' ', 3)[3]}\n" for line in lines)


# An agent that says ten times a second that it lives: its attempt, and the seconds since the boot.
TICKS = 'while :; do read -r up _ < /proc/uptime; echo "$AGENT_ATTEMPT $up" >> "$TASK_FILE"; sleep 0.1; done'


def lives(said: Path) -> dict[str, tuple[float, float]]:
    """From when to when each attempt of such an agent lived."""
    found: dict[str, list[float]] = {}
    for line in said.read_text().splitlines() if said.exists() else ():
        attempt, _, at = line.partition(" ")
        found.setdefault(attempt, []).append(float(at))
    return {attempt: (min(times), max(times)) for attempt, times in sorted(found.items())}


def never_twice(said: Path) -> bool:
    """Whether each attempt began after the one before had ended."""
    return all(former[1] < later[0] for former, later in pairwise(lives(said).values()))
