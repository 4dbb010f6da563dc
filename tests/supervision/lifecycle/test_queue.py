"""Which agents wait for a slot, and in which order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.processes import process_alive
from tests.support.sidecars import call, until
from tests.support.spawned import SLEEP, events_of, open_streams, steps_until
from tests.support.succession import Succession, writes_blocked


def append_step(path: Path, text: str) -> dict[str, Any]:
    return {"do": "run", "command": ["sh", "-c", f"echo {text} >> '{path}'"]}


def test_queued_agents_start_by_priority_and_then_by_age(single_slot: Succession, tmp_path: Path) -> None:
    first = single_slot.spawn(steps_until(tmp_path / "go"))
    queued = {
        name: single_slot.spawn([append_step(tmp_path / "order", name)], priority=name.split("-")[0])
        for name in ("low", "normal", "high", "normal-2", "normal-3")
    }
    places = {"high": 1, "normal": 2, "normal-2": 3, "normal-3": 4, "low": 5}
    assert [queued["low"].spawned[key] for key in ("spawned", "status", "queue_position")] == [False, "pending", 1]
    assert queued["high"].spawned["queue_position"] == 1 and queued["normal-3"].spawned["queue_position"] == 4
    for name, place in places.items():
        found = queued[name].get()
        assert (found["status"], found["queue_position"], found["attempt"]) == ("pending", place, 0), name
        assert queued[name].token is None and queued[name].spawned["process_id"] is None
    listed = call(single_slot.sidecar, "GET", "/api/agents")
    assert [listed[key] for key in ("running", "queued", "max_concurrent")] == [1, 5, 1]
    stopped = queued["normal-2"].stop()
    assert (stopped["stopped"], stopped["status"]) == (True, "stopped")
    assert (queued["normal-3"].get()["queue_position"], queued["low"].get()["queue_position"]) == (3, 4)
    (tmp_path / "go").touch()
    for name, agent in queued.items():
        assert agent.wait()["status"] == ("stopped" if name == "normal-2" else "completed"), name
    assert (tmp_path / "order").read_text().split() == ["high", "normal", "normal-3", "low"]
    assert first.wait()["status"] == "completed"
    assert not (single_slot.storage / "agents" / queued["normal-2"].id).exists(), "it was never started"


def test_an_agent_that_cannot_start_frees_its_slot_for_the_next(single_slot: Succession, tmp_path: Path) -> None:
    single_slot.spawn(steps_until(tmp_path / "go"))
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x7fELF nothing")
    nonsense.chmod(0o755)
    broken = single_slot.spawn([], command=[str(nonsense)])
    next_one = single_slot.spawn([{"do": "exit", "code": 0}])
    (tmp_path / "go").touch()
    ended = broken.wait()
    assert ended["status"] == "failed" and "Exec format error" in ended["reason"], ended
    assert next_one.wait()["status"] == "completed"
    assert events_of(broken, single_slot.sidecar) == ["agent_failed"]


def test_a_stop_while_the_disk_is_slow_does_not_cost_a_slot(single_slot: Succession, tmp_path: Path) -> None:
    """The agent fails, is due for a retry, and is stopped before that is stored."""
    agent = single_slot.spawn(
        [*steps_until(tmp_path / "go"), {"do": "exit", "code": 1}], agent_type="test-engineer", command=[]
    )
    process = agent.get()["process_id"]
    with ThreadPoolExecutor() as pool:
        with writes_blocked(single_slot.storage):
            (tmp_path / "go").touch()
            until(lambda: not process_alive(process), "its end")
            stop = pool.submit(agent.stop)
            until(lambda: open_streams(single_slot.sidecar), "the stop")
        assert stop.result(timeout=30)["status"] == "stopped"
    assert single_slot.spawn([{"do": "exit", "code": 0}]).wait()["status"] == "completed", (
        "there is a free slot for the next agent"
    )
    assert agent.get()["status"] == "stopped"
    assert call(single_slot.sidecar, "GET", "/api/agents")["running"] == 0


def test_a_queued_agent_cannot_send_a_heartbeat(single_slot: Succession, tmp_path: Path) -> None:
    single_slot.spawn(steps_until(tmp_path / "go"))
    agent = single_slot.spawn(SLEEP)
    answer = single_slot.sidecar.request(
        "POST", f"/api/agents/{agent.id}/heartbeat", single_slot.sidecar.operator, json={"percent": 5}
    )
    assert answer.status_code < 500, answer.text
    assert agent.get()["status"] == "pending"
    agent.stop(force=True)
    (tmp_path / "go").touch()
