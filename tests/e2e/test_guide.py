"""The integration guide as its readers have it: the complete agent and the snippets, unchanged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from cco_sidecar.storage import trust
from cco_sidecar.testing.process import Agent, SidecarProcess, agent_environment

GUIDE = (Path(__file__).parent / "seeds" / "agent_guide.md").read_text()


def section(title: str) -> str:
    """The text from a heading to the next one."""
    taken: list[str] = []
    inside = fenced = False
    for line in GUIDE.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if not fenced and line.startswith("#"):
            inside = line.strip("# \n") == title
        if inside:
            taken.append(line)
    assert taken
    return "".join(taken)


def code(title: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)


def test_the_complete_agent_runs_and_exits_0(sidecar: SidecarProcess, tmp_path: Path) -> None:
    agent = sidecar.agent(issue="issue-guide")
    program = tmp_path / "agent.py"
    program.write_text(code("Complete Python Agent")[0])
    done = subprocess.run(
        [sys.executable, str(program)],
        env={"PATH": os.environ["PATH"]} | agent_environment(sidecar, agent),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Agent completed successfully" in done.stderr
    (result,) = sidecar.request("GET", "/api/results", agent).json()["results"]
    assert result["result"]["files_created"] == ["src/feature.py", "tests/test_feature.py"]
    assert result["result"]["metrics"] == {"execution_time_ms": 5000, "test_coverage": 95}
    events = sidecar.request("GET", "/api/events?since=0", agent).json()["events"]
    assert [e["event_type"] for e in events if e["publisher"] == agent.id] == [
        "agent_completed",
        "implementation_complete",
    ]


def test_the_complete_agent_runs_as_every_type(sidecar: SidecarProcess, tmp_path: Path) -> None:
    program = tmp_path / "agent.py"
    program.write_text(code("Complete Python Agent")[0])
    types = list(trust.load_agent_types(tmp_path))
    assert len(types) == 119

    def ended(agent_type: str) -> str:
        agent = sidecar.agent(agent_type, issue=f"issue-{agent_type}", project="guide-types")
        command = [sys.executable, str(program)]
        environment = {"PATH": os.environ["PATH"]} | agent_environment(sidecar, agent)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return "" if done.returncode == 0 else f"{agent_type}: {done.stderr[-300:]}"

    with ThreadPoolExecutor(4) as pool:
        failed = list(filter(None, pool.map(ended, types)))
    assert not failed, failed


@pytest.fixture
def guide_agent(sidecar: SidecarProcess, request: pytest.FixtureRequest) -> Agent:
    return sidecar.agent(issue="issue-123", project=f"guide-{request.node.name}")


@pytest.fixture
def namespace(sidecar: SidecarProcess, guide_agent: Agent) -> dict[str, Any]:
    """The names that the guide's agent has set up before its snippets run."""
    import logging

    return {
        "requests": requests,
        "time": time,
        "logger": logging.getLogger("guide"),
        "sidecar_url": f"{sidecar.url}/api",
        "headers": guide_agent.headers,
        "issue_id": guide_agent.issue,
        "agent_id": guide_agent.id,
        "agent_type": guide_agent.type,
    }


def publish(sidecar: SidecarProcess, agent: Agent, event_type: str, **data: Any) -> Any:
    body = {"publisher": agent.id, "topic": "coordination", "data": data}
    return sidecar.request("POST", f"/api/events/{event_type}", agent, json=body).json()


def test_long_polling(sidecar: SidecarProcess, guide_agent: Agent, namespace: dict[str, Any]) -> None:
    handled: list[Any] = []
    namespace["handle_architecture_event"] = handled.append

    def publish_when_heard() -> None:
        while not publish(sidecar, guide_agent, "architecture_defined", issue_id="issue-123")["subscriber_count"]:
            time.sleep(0.05)

    publisher = threading.Thread(target=publish_when_heard)
    publisher.start()
    exec(code("Long Polling Pattern")[0], namespace)
    publisher.join()
    assert handled and handled[0]["data"]["issue_id"] == "issue-123"


def test_filtering(sidecar: SidecarProcess, guide_agent: Agent, namespace: dict[str, Any]) -> None:
    wait = code("Long Polling Pattern")[0].split("# Wait for architecture decisions")[0]
    exec(wait, namespace)
    original = namespace["wait_for_event"]
    answers: list[Any] = []

    def short(event_type: str, timeout: int = 200, filter: str | None = None) -> Any:
        answers.append(original(event_type, timeout=timeout, filter=filter))
        return answers[-1]

    namespace["wait_for_event"] = short
    lines = [line for line in code("Event Filtering")[0].splitlines() if line.startswith("wait_for_event")]
    assert len(lines) == 3
    for line in lines:
        exec(line, namespace)
    assert all(answer["timeout"] is True for answer in answers)
    # Each event ended one poll; the next match is for the next poll.
    publish(sidecar, guide_agent, "agent_completed", issue_id="issue-123")
    publish(sidecar, guide_agent, "testing_complete", status="failed")
    publish(sidecar, guide_agent, "testing_complete", status="success")
    publish(sidecar, guide_agent, "deployment", issue_id="issue-123", status="success")
    publish(sidecar, guide_agent, "deployment", issue_id="issue-123", status="failed")
    answers.clear()
    for line in lines:
        exec(line, namespace)
    assert [[event["data"].get("status") for event in answer["events"]] for answer in answers] == [
        [None],
        ["success"],
        ["success"],
    ]


def test_background_listening(sidecar: SidecarProcess, guide_agent: Agent, namespace: dict[str, Any]) -> None:
    exec(code("Long Polling Pattern")[0].split("# Wait for architecture decisions")[0], namespace)
    exec(code("Continuous Subscription")[0], namespace)
    heard: list[str] = []
    namespace["print"] = heard.append

    def do_work() -> None:
        deadline = time.monotonic() + 20
        while len(heard) < 2 and time.monotonic() < deadline:
            publish(sidecar, guide_agent, "agent_completed", issue_id="issue-123")
            time.sleep(0.05)

    namespace["do_work"] = do_work
    exec(code("Background Subscriptions")[0], namespace)
    assert heard[:2] == ["Event received: agent_completed"] * 2


def test_error_handling(sidecar: SidecarProcess, guide_agent: Agent, namespace: dict[str, Any]) -> None:
    for title in ("Authentication Errors", "Rate Limiting", "Network Errors"):
        exec(code(title)[0], namespace)
    context = namespace["get_context_with_retry"](guide_agent.issue, guide_agent.type)
    assert context["context"]["relevant_files"]
    # The agent refreshes an expired token and retries.
    good = dict(namespace["headers"])
    namespace["headers"]["Authorization"] = "Bearer expired"
    namespace["refresh_jwt_token"] = lambda: namespace["headers"].update(good)
    assert namespace["get_context_with_retry"](guide_agent.issue, guide_agent.type)["issue_id"] == guide_agent.issue
    url = f"{sidecar.url}/health"
    assert namespace["robust_api_call"](url)["status"] == "healthy"
    with pytest.raises(requests.exceptions.HTTPError):
        namespace["robust_api_call"](f"{sidecar.url}/nowhere")


def test_rate_limits_are_waited_out(sidecar: SidecarProcess, namespace: dict[str, Any]) -> None:
    exec(code("Rate Limiting")[0], namespace)
    writer = sidecar.agent("technical-writer")
    url = f"{sidecar.url}/api/events"
    for _ in range(40):
        if requests.get(url, headers=writer.headers, timeout=5).status_code == 429:
            break
    assert namespace["api_call_with_rate_limit"](url, headers=writer.headers).status_code == 200


def test_sidecar_unavailable(sidecar: SidecarProcess, namespace: dict[str, Any]) -> None:
    text = code("Sidecar Unavailable")[0].replace("http://localhost:3001", sidecar.url)
    exec(text, namespace)
    assert namespace["check_sidecar_health"]() is True


def test_validation_of_the_context(sidecar: SidecarProcess, guide_agent: Agent, namespace: dict[str, Any]) -> None:
    exec(code("1. Always Validate Context")[0], namespace)
    exec(code("4. Handle Partial Context")[0], namespace)
    context = sidecar.request("GET", f"/api/context/{guide_agent.issue}/{guide_agent.type}", guide_agent).json()
    assert namespace["validate_context"](context) is True
    namespace["handle_truncated_context"](context)
