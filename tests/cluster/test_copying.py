"""From one machine to two and back, with everything that was stored."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.test_sidecars import ask, spawn
from tests.support.sidecars import until, written
from tests.support.team import Team

from cco_sidecar.testing.process import SidecarProcess, run_cco

pytestmark = pytest.mark.cluster


@pytest.fixture
def team(tmp_path: Path, root: Path, postgres_url: str, nats_url: str) -> Iterator[Team]:
    made = Team(tmp_path, root, postgres_url, nats_url)
    yield made
    made.stop()


def copied(team: Team, sidecar: SidecarProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = run_cco(
        sidecar, "cluster", *arguments, environment=list(team.environment.items())
    )
    return done


def fill(sidecar: SidecarProcess) -> dict[str, Any]:
    """Stores something of each kind; returns what to look for."""
    events = [ask(sidecar, "POST", "/api/events/built", {"data": {"n": number}})["event_id"] for number in range(5)]
    agent_id = spawn(sidecar, command=["true"])["agent_id"]
    until(lambda: ask(sidecar, "GET", f"/api/agents/{agent_id}")["status"] == "completed", "its end")
    ask(sidecar, "POST", "/api/consumers", {"name": "c", "since": events[1]})
    result = {"status": "success", "summary": "done", "lessons": ["Measure before you optimise."]}
    stored = ask(
        sidecar, "POST", "/api/results", {"agent_type": "python-specialist", "issue_id": "i", "result": result}
    )
    ask(sidecar, "PUT", "/api/schemas/built", {"schema": {"required": ["n"]}})
    document = ask(sidecar, "POST", "/api/documents", {"filename": "plan.md", "text": "the extraordinary plan"})
    return {"events": events, "agent": agent_id, "result": stored["id"], "document": document["document_id"]}


def look(sidecar: SidecarProcess, there: dict[str, Any]) -> None:
    page = ask(sidecar, "GET", f"/api/events?since={there['events'][0]}&event_type=built")
    assert [each["event_id"] for each in page["events"]] == there["events"][1:], "a cursor is still one"
    before = ask(sidecar, "GET", f"/api/events?since_time={page['events'][2]['timestamp']}&event_type=built")
    assert before["events"][0]["data"]["n"] == 3, "an event is as old as it was"
    assert ask(sidecar, "GET", f"/api/agents/{there['agent']}")["status"] == "completed"
    assert ask(sidecar, "GET", "/api/results/i/python-specialist")["id"] == there["result"]
    found = ask(sidecar, "GET", "/api/documents:search?query=extraordinary")["results"]
    assert [each["document"]["document_id"] for each in found] == [there["document"]]
    taken = ask(sidecar, "POST", "/api/consumers/c/pull", {"limit": 1, "timeout": 5000})["deliveries"]
    assert taken[0]["event"]["event_id"] == there["events"][2]
    refused = sidecar.request("POST", "/api/events/built", sidecar.operator, json={"data": {}})
    assert refused.status_code == 400, "the schema"
    assert ask(sidecar, "POST", "/api/events/built", {"data": {"n": 9}})["event_id"] > page["events"][-1]["event_id"]


def test_everything_goes_to_the_servers_and_back(team: Team, tmp_path: Path, root: Path) -> None:
    home = tmp_path / "one"
    home.mkdir()
    alone = SidecarProcess(home / "storage", root, config=written(home / "alone.json"))
    team.running.append(alone)
    there = fill(alone)
    alone.stop()
    done = copied(team, alone, "load")
    assert done.returncode == 0 and "start the sidecar" in done.stdout, done.stderr
    first = team.start("one")
    look(first, there)
    second = team.start("two")
    done = copied(team, first, "save", str(tmp_path / "saved"))
    assert done.returncode == 0, done.stderr
    assert ask(second, "GET", f"/api/agents/{there['agent']}")["status"] == "completed"
    # What was published meanwhile is there as well; the consumer has taken one.
    shutil.copy(home / "storage" / "sidecar-id", tmp_path / "saved")
    restored = SidecarProcess(tmp_path / "saved", root, config=written(tmp_path / "restored.json"))
    try:
        page = ask(restored, "GET", f"/api/events?since={there['events'][0]}&event_type=built")
        assert [each["data"]["n"] for each in page["events"]] == [1, 2, 3, 4, 9]
        assert ask(restored, "GET", "/api/results/i/python-specialist")["id"] == there["result"]
        found = ask(restored, "GET", "/api/documents:search?query=extraordinary")["results"]
        assert [each["document"]["document_id"] for each in found] == [there["document"]]
        assert ask(restored, "GET", "/api/consumers/c")["in_flight_count"] == 1
    finally:
        restored.stop()
    with closing(sqlite3.connect(tmp_path / "saved" / "records.db")) as records:
        assert records.execute("SELECT count(*) FROM members").fetchone() == (0,)


def test_servers_that_have_something_are_left_alone(team: Team, tmp_path: Path, root: Path) -> None:
    home = tmp_path / "one"
    home.mkdir()
    alone = SidecarProcess(home / "storage", root, config=written(home / "alone.json"))
    team.running.append(alone)
    fill(alone)
    alone.stop()
    assert copied(team, alone, "load").returncode == 0
    again = copied(team, alone, "load")
    assert again.returncode == 1 and "has events of project 'default' already" in again.stderr
    refused = copied(team, alone, "save", str(home))
    assert refused.returncode == 1 and "exists" in refused.stderr


def test_the_command_shows_who_leads(team: Team) -> None:
    first = team.start("one")
    done = copied(team, first, "status")
    assert done.returncode == 0 and "leads" in done.stdout and first.target in done.stdout
