"""`kill -9` under load: whatever was acknowledged is there after the restart, once and in order.

`make crash` runs 200 rounds; CI runs a few.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from cco_sidecar.testing.process import Agent, SidecarProcess

WRITERS = 6


class Load:
    """Publishes and stores without pause, and remembers what was acknowledged."""

    def __init__(self, sidecar: SidecarProcess, agent: Agent) -> None:
        self.sidecar = sidecar
        self.agent = agent
        self.events: dict[str, str] = {}
        self.results: dict[str, str] = {}
        self.threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)

    def _write(self, number: int) -> None:
        session = requests.Session()
        session.headers.update(self.agent.headers)
        turn = 0
        while True:
            turn += 1
            mark = f"{number}-{turn}-{random.random()}"
            try:
                if number % 3:
                    answer = session.post(
                        f"{self.sidecar.url}/api/events/load", json={"data": {"mark": mark}}, timeout=10
                    )
                    if answer.status_code == 202:
                        self.events[answer.json()["event_id"]] = mark
                else:
                    body = {
                        "agent_type": self.agent.type,
                        "issue_id": self.agent.issue,
                        "result": {"status": "success", "decisions": [mark]},
                    }
                    answer = session.post(f"{self.sidecar.url}/api/results", json=body, timeout=10)
                    if answer.status_code == 201:
                        self.results[answer.json()["id"]] = mark
            except requests.RequestException:
                return


def everything(
    sidecar: SidecarProcess, agent: Agent, path: str, plural: str, cursor_name: str, start: str
) -> list[Any]:
    found: list[Any] = []
    cursor = start
    while True:
        query = f"{path}&limit=1000" + (f"&{cursor_name}={cursor}" if cursor else "")
        page = sidecar.request("GET", query, agent).json()
        found += page[plural]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def check(sidecar: SidecarProcess, agent: Agent, events: dict[str, str], results: dict[str, str], since: str) -> str:
    """Everything acknowledged since the last check is there; returns where the next check starts."""
    listed = everything(sidecar, agent, "/api/events?event_type=load", "events", "since", since)
    kept = {event["event_id"]: event["data"]["mark"] for event in listed}
    assert len(kept) == len(listed), "an event appears twice"
    assert list(kept) == sorted(kept), "events are out of order"
    assert events.items() <= kept.items()
    stored = {
        r["id"]: r["result"]["decisions"][0]
        for r in everything(sidecar, agent, "/api/results?latest=false", "results", "cursor", "")
    }
    assert results.items() <= stored.items()
    completed = everything(sidecar, agent, "/api/events?event_type=agent_completed", "events", "since", since)
    announced = [event["data"]["result_id"] for event in completed]
    assert len(announced) == len(set(announced)), "a result was announced twice"
    newest = sidecar.request("GET", f"/api/results/{agent.issue}/{agent.type}", agent)
    if newest.status_code == 200:
        on_disk = sidecar.storage / "results" / agent.project / agent.issue / f"{agent.type}.json"
        assert json.loads(on_disk.read_text()) == newest.json()
        missing = set(results) - set(announced)
        assert not missing, "a stored result was never announced"
    last = sidecar.request("GET", "/api/events?limit=1", agent).json()["events"]
    return str(last[0]["event_id"]) if last else "0"


def rounds(count: int, tmp_path: Path, repository: Path) -> None:
    storage = tmp_path / "storage"
    sidecar = SidecarProcess(storage, repository)
    agent = sidecar.agent("chief-architect", ttl_seconds=86_400)
    since, acknowledged = "0", 0
    for _ in range(count):
        load = Load(sidecar, agent)
        load.start()
        while len(load.events) + len(load.results) < 20:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.3))
        sidecar.kill()
        load.join()
        sidecar = SidecarProcess(storage, repository)
        acknowledged += len(load.events) + len(load.results)
        since = check(sidecar, agent, load.events, load.results, since)
    print(f"{count} rounds of kill -9, {acknowledged} acknowledged writes, none lost")
    assert sidecar.stop() == ""


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, repository: Path) -> None:
    rounds(5, tmp_path, repository)


@pytest.mark.long
def test_200_rounds(tmp_path: Path, repository: Path) -> None:
    rounds(int(os.environ.get("ROUNDS", "200")), tmp_path, repository)
