"""Who waits for a place, and in which order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.processes import process_alive
from tests.support.sidecars import call, until
from tests.support.spawned import SLEEP, events_of, open_streams, steps_until
from tests.support.succession import Succession, nothing_written


def appends(path: Path, text: str) -> dict[str, Any]:
    return {"do": "run", "command": ["sh", "-c", f"echo {text} >> '{path}'"]}


def test_who_waits_is_started_by_priority_and_then_by_age(narrow: Succession, tmp_path: Path) -> None:
    first = narrow.spawn(steps_until(tmp_path / "go"))
    queued = {
        name: narrow.spawn([appends(tmp_path / "order", name)], priority=name.split("-")[0])
        for name in ("low", "normal", "high", "normal-2", "normal-3")
    }
    places = {"high": 1, "normal": 2, "normal-2": 3, "normal-3": 4, "low": 5}
    assert [queued["low"].spawned[key] for key in ("spawned", "status", "queue_position")] == [False, "pending", 1]
    assert queued["high"].spawned["queue_position"] == 1 and queued["normal-3"].spawned["queue_position"] == 4
    for name, place in places.items():
        found = queued[name].get()
        assert (found["status"], found["queue_position"], found["attempt"]) == ("pending", place, 0), name
        assert queued[name].token is None and queued[name].spawned["process_id"] is None
    listed = call(narrow.sidecar, "GET", "/api/agents")
    assert [listed[key] for key in ("running", "queued", "max_concurrent")] == [1, 5, 1]
    stopped = queued["normal-2"].stop()
    assert (stopped["stopped"], stopped["status"]) == (True, "stopped")
    assert (queued["normal-3"].get()["queue_position"], queued["low"].get()["queue_position"]) == (3, 4)
    (tmp_path / "go").touch()
    for name, agent in queued.items():
        assert agent.wait()["status"] == ("stopped" if name == "normal-2" else "completed"), name
    assert (tmp_path / "order").read_text().split() == ["high", "normal", "normal-3", "low"]
    assert first.wait()["status"] == "completed"
    assert not (narrow.storage / "agents" / queued["normal-2"].id).exists(), "it was never started"


def test_an_agent_that_cannot_start_gives_its_place_to_the_next(narrow: Succession, tmp_path: Path) -> None:
    narrow.spawn(steps_until(tmp_path / "go"))
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x7fELF nothing")
    nonsense.chmod(0o755)
    broken = narrow.spawn([], command=[str(nonsense)])
    next_one = narrow.spawn([{"do": "exit", "code": 0}])
    (tmp_path / "go").touch()
    ended = broken.wait()
    assert ended["status"] == "failed" and "Exec format error" in ended["reason"], ended
    assert next_one.wait()["status"] == "completed"
    assert events_of(broken, narrow.sidecar) == ["agent_failed"]


def test_a_stop_while_the_disk_is_slow_does_not_cost_a_place(narrow: Succession, tmp_path: Path) -> None:
    """The agent fails, is to be tried again, and is stopped before that is on disk."""
    agent = narrow.spawn(
        [*steps_until(tmp_path / "go"), {"do": "exit", "code": 1}], agent_type="test-engineer", command=[]
    )
    process = agent.get()["process_id"]
    with ThreadPoolExecutor() as pool:
        with nothing_written(narrow.storage):
            (tmp_path / "go").touch()
            until(lambda: not process_alive(process), "its end")
            stop = pool.submit(agent.stop)
            until(lambda: open_streams(narrow.sidecar), "the stop")
        assert stop.result(timeout=30)["status"] == "stopped"
    assert narrow.spawn([{"do": "exit", "code": 0}]).wait()["status"] == "completed", "there is room for the next"
    assert agent.get()["status"] == "stopped"
    assert call(narrow.sidecar, "GET", "/api/agents")["running"] == 0


def test_a_queued_agent_has_no_sign_of_life_to_give(narrow: Succession, tmp_path: Path) -> None:
    narrow.spawn(steps_until(tmp_path / "go"))
    agent = narrow.spawn(SLEEP)
    answer = narrow.sidecar.request(
        "POST", f"/api/agents/{agent.id}/heartbeat", narrow.sidecar.operator, json={"percent": 5}
    )
    assert answer.status_code < 500, answer.text
    assert agent.get()["status"] == "pending"
    agent.stop(force=True)
    (tmp_path / "go").touch()
