"""Spawning agents, and inspecting what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests
from tests.support.sidecars import events, until

from cco_sidecar.testing.agents import SpawnedAgent
from cco_sidecar.testing.process import Agent, SidecarProcess

Spawn = Callable[..., SpawnedAgent]
SLEEP: list[dict[str, Any]] = [{"do": "sleep", "seconds": 600}]


def steps_until(path: Path) -> list[dict[str, Any]]:
    return [{"do": "until", "path": str(path)}]


def events_of(agent: SpawnedAgent, sidecar: SidecarProcess) -> list[str]:
    """Types of the events about an agent, oldest first."""
    return [each["event_type"] for each in events(sidecar, "default") if each["data"].get("agent_id") == agent.id]


def directory_of(sidecar: SidecarProcess, agent: SpawnedAgent, attempt: int = 1) -> Path:
    return sidecar.storage / "agents" / agent.id / str(attempt)


def files_of(sidecar: SidecarProcess, agent: SpawnedAgent) -> list[str]:
    directory = sidecar.storage / "agents" / agent.id
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() or path.is_fifo())


def as_agent(agent: SpawnedAgent) -> Agent:
    assert agent.token is not None
    return Agent(agent.id, "python-specialist", "issue-123", "default", agent.token)


def open_streams(sidecar: SidecarProcess) -> bool:
    """The number of REST connections, not counting this request's own."""
    found = psutil.Process(sidecar.process.pid).net_connections(kind="tcp")
    return (
        len([each for each in found if each.status == psutil.CONN_ESTABLISHED and each.laddr.port == sidecar.port]) > 0
    )


def follow(sidecar: SidecarProcess, agent: SpawnedAgent, query: str = "") -> list[str]:
    answer = sidecar.request("GET", f"/api/agents/{agent.id}/logs?follow=true{query}", sidecar.operator, timeout=60)
    return [line["text"] for part in answer.text.splitlines() for line in json.loads(part)["lines"]]


def resume(sidecar: SidecarProcess, agent: SpawnedAgent, message: str = "") -> dict[str, Any]:
    """Resumes the agent as soon as possible."""

    def ask() -> requests.Response | None:
        answer = sidecar.request("POST", f"/api/agents/{agent.id}/resume", sidecar.operator, json={"message": message})
        return None if answer.status_code == 409 else answer

    answer = until(ask, "its end")
    assert answer is not None and answer.status_code == 200, answer.text if answer is not None else ""
    found: dict[str, Any] = answer.json()
    return found
