"""The rules of these tests, and helpers to see their effects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.sidecars import agents, call, events, fresh, publish, until, written

from cco_sidecar.testing.agents import SpawnedAgent, scripted_command
from cco_sidecar.testing.process import SidecarProcess

SUCCESS = {"do": "result", "status": "success"}
FAILURE = {"do": "exit", "code": 3}
LIMITS = {"depth": 2, "agents": 4, "tokens": 1000, "cost_usd": 1.0}
# The mark rule: it announces in an event that the rules have read this far.
MARK = {"name": "mark", "when": {"event_type": "mark"}, "do": "notify", "message": "{text}"}
RULES: list[dict[str, Any]] = [
    {
        "name": "code-after-design",
        "when": {"event_type": "design_ready"},
        "do": "spawn",
        "agent_type": "python-specialist",
        "priority": "high",
        "task": "Build {data.part.name} of {issue_id} for {publisher} after {event_type}, {times} times; {unknown} {} stay",
    },
    {
        "name": "tests-after-code",
        "when": {"result": {"types": ["python-pro"], "status": ["success"], "touches": ["src/"]}},
        "do": "spawn",
        "agent_type": "test-engineer",
        "task": "Test what {agent_id} made for {issue_id}",
    },
    {
        "name": "suggested",
        "when": {"event_type": "agent_completed", "filter": "agent_type:typescript-pro"},
        "do": "spawn",
        "agent_type": "next_agents",
    },
    {
        "name": "again",
        "when": {"event_type": "agent_failed", "filter": "agent_type:go-specialist"},
        "do": "retry",
        "attempts": 3,
    },
    {
        "name": "tell",
        "when": {"event_type": ["tell_me", "tell_us"], "filter": "loud:true"},
        "do": "notify",
        "message": "{publisher} says {text}",
    },
    {
        "name": "may-it",
        "when": {"event_type": "deploy_wanted"},
        "do": "ask",
        "agent_type": "devops-engineer",
        "task": "Deploy {issue_id} to {place}",
        "message": "May {issue_id} go to {place}?",
    },
    {
        "name": "endless",
        "when": {"event_type": "agent_completed", "filter": "agent_type:swift-specialist"},
        "do": "spawn",
        "agent_type": "swift-specialist",
    },
    {
        "name": "endless-results",
        "when": {"result": {"types": ["flutter-specialist"]}},
        "do": "spawn",
        "agent_type": "flutter-specialist",
    },
    {"name": "after-work", "when": {"event_type": "agent_completed", "filter": "agent_type:rust-specialist"},
     "do": "spawn", "agent_type": "code-reviewer"},
    {"name": "impossible", "when": {"event_type": "impossible"}, "do": "spawn", "agent_type": "data-engineer"},
    {"name": "may-impossible", "when": {"event_type": "impossible_wanted"}, "do": "ask", "agent_type": "data-engineer"},
    {"name": "rulers", "when": {"event_type": "ruler_wanted"}, "do": "spawn", "agent_type": "chief-architect"},
    MARK,
]  # fmt: skip
RULER: list[dict[str, Any]] = [
    {"do": "call", "method": "POST", "path": "/agents/spawn",
     "body": {"agent_type": "chief-architect", "issue_id": "dynasty"}, "expect": 201},
]  # fmt: skip


def script(*steps: dict[str, Any]) -> dict[str, Any]:
    """A runner's entry: the steps of agents of its type."""
    return {"environment": {"TASK_SCRIPT": json.dumps(steps)}}


RUNNERS: dict[str, Any] = {
    "default": {"command": scripted_command(), "output": "stream-json"} | script(),
    "go-specialist": script(FAILURE),
    "flutter-specialist": script(SUCCESS),
    "chief-architect": script(*RULER),
    "data-engineer": {"command": ["/nowhere/such-a-program"]},
}


def handing_over(path: Path, runners: dict[str, Any] = RUNNERS, **handover: Any) -> Path:
    """A config file with these rules; agents have no rate limit."""
    return written(
        path,
        agents={
            "runners": runners,
            "handover": {"rules": RULES, "limits": LIMITS} | handover,
            "rate_limits": {"coding": 0, "development": 0},
        },
    )


def caught_up(sidecar: SidecarProcess, *projects: str) -> None:
    """Waits until the rules have read everything published so far."""
    for project in projects:
        text = fresh("mark")
        publish(sidecar, project, "mark", text=text)
        until(lambda: text in said(sidecar, project), f"the rules to read {project}")  # noqa: B023


def said(sidecar: SidecarProcess, project: str) -> list[str]:
    """The messages to people; in a dry run, the planned ones."""
    found = events(sidecar, project, "handover_notification") + events(sidecar, project, "handover_planned")
    return [event["data"]["message"] for event in found if "message" in event["data"]]


def blocked(sidecar: SidecarProcess, project: str) -> list[dict[str, Any]]:
    return [event["data"] for event in events(sidecar, project, "spawn_blocked")]


def followed(sidecar: SidecarProcess, agent: dict[str, Any]) -> SpawnedAgent:
    """A handle on an agent that a rule spawned."""
    return SpawnedAgent(sidecar, {"agent_id": agent["agent_id"], "jwt_token": None})


def running(sidecar: SidecarProcess, project: str, agent_type: str, number: int = 1) -> list[SpawnedAgent]:
    """Waits for ``number`` agents of a type."""

    def look() -> list[SpawnedAgent]:
        found = [agent for agent in agents(sidecar, project) if agent["agent_type"] == agent_type]
        return [followed(sidecar, each) for each in found] if len(found) >= number else []

    found = until(look, f"{number} agents of type {agent_type}")
    assert len(found) == number
    return found


def asked(sidecar: SidecarProcess, project: str, status: str = "pending") -> list[dict[str, Any]]:
    path = f"/api/approvals?project_id={project}&status={status}"
    found: list[dict[str, Any]] = call(sidecar, "GET", path)["approvals"]
    return found


def answer(sidecar: SidecarProcess, approval: dict[str, Any], *, approved: bool) -> None:
    body = {"approved": approved}
    call(sidecar, "POST", f"/api/approvals/{approval['approval_id']}/answer", json=body)
