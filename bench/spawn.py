"""119 agents spawned at once: the time until each has its first context, and the memory an agent costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psutil

from cco_sidecar.testing.agents import SpawnedAgent, spawn_scripted
from cco_sidecar.testing.process import SidecarProcess

_MEGABYTE = 2**20
_CALLERS = 16
_PATIENCE = 120.0


class Figures(NamedTuple):
    """Milliseconds from the spawn request to the first context of each agent, and to the spawn response; megabytes per
    agent: the shim (proportional set size), the sidecar's growth, and a bare Python child.
    """

    first_context: list[float]
    answered: list[float]
    bare_start: list[float]
    shim_mb: float
    sidecar_mb: float
    agent_mb: float


def measure(sidecar: SidecarProcess, count: int, directory: Path) -> Figures:
    done = directory / "done"
    steps = [{"do": "context"}, {"do": "until", "path": str(done)}]
    process = psutil.Process(sidecar.process.pid)
    before = process.memory_info().rss
    answered: list[float] = []

    def spawn(number: int) -> tuple[float, SpawnedAgent]:
        started = time.time()
        agent = spawn_scripted(sidecar, steps, agent_type="terraform-specialist", issue=f"spawn-{number % 8}")
        answered.append((time.time() - started) * 1000)
        return started, agent

    with ThreadPoolExecutor(_CALLERS) as pool:
        spawned = list(pool.map(spawn, range(count)))
    first = [(_first_context(sidecar, agent) - started) * 1000 for started, agent in spawned]
    shims = [each for each in process.children() if "shim.py" in " ".join(each.cmdline())]
    programs = [child for shim in shims for child in shim.children()]
    figures = Figures(
        first,
        answered,
        _bare_starts(count),
        sum(each.memory_full_info().pss for each in shims) / _MEGABYTE / count,
        (process.memory_info().rss - before) / _MEGABYTE / count,
        sum(each.memory_full_info().pss for each in programs) / _MEGABYTE / count,
    )
    done.touch()
    for _, agent in spawned:
        agent.wait(timeout=_PATIENCE)
    return figures


def _first_context(sidecar: SidecarProcess, agent: SpawnedAgent) -> float:
    """When the agent printed that it has its context, by the shim's clock."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs", sidecar.operator)
        lines = [line for part in answer.text.splitlines() for line in json.loads(part)["lines"]]
        if lines:
            return datetime.fromisoformat(lines[0]["timestamp"]).timestamp()
        time.sleep(0.05)
    raise TimeoutError(agent.id)


def _bare_starts(count: int) -> list[float]:
    """The same number of bare Python programs, started at the same concurrency: the machine's own cost."""

    def start(_: int) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import urllib.request, json, subprocess"], check=True)
        return (time.perf_counter() - started) * 1000

    with ThreadPoolExecutor(_CALLERS) as pool:
        return list(pool.map(start, range(count)))
