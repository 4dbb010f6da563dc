"""`cco consumers`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from tests.support.commands import fails, misused, printed
from tests.support.sidecars import fresh, publish

from cco_sidecar.testing.process import SidecarProcess, run_cco


@pytest.fixture
def name(sidecar: SidecarProcess) -> str:
    """A consumer of the events of its own name."""
    made = fresh("queue")
    printed(run_cco(sidecar, "consumers", "create", made, "--event-type", made, "--max-deliveries", "2"))
    return made


def consumers(sidecar: SidecarProcess, *line: str) -> str:
    return printed(run_cco(sidecar, "consumers", *line))


def test_events_are_pulled_and_settled_by_their_delivery_ids(sidecar: SidecarProcess, name: str) -> None:
    first, second = (publish(sidecar, "default", name, n=n) for n in (1, 2))
    lines = json.loads(consumers(sidecar, "pull", name, "--format", "json"))
    assert [line["event"]["event_id"] for line in lines] == [first, second]
    assert consumers(sidecar, "ack", name, lines[0]["delivery_id"]) == "1 acknowledged\n"
    assert "1 given back" in consumers(sidecar, "nack", name, lines[1]["delivery_id"], "--delay", "0")
    assert consumers(sidecar, "pull", name, "--ack").startswith(f"{second}.2  {name}  ")
    fails(run_cco(sidecar, "consumers", "ack", name, lines[1]["delivery_id"]), "not held, or too late")
    assert f"{name}  0 behind, 0 in flight, 0 dead letters, 0 workers" in consumers(sidecar, "list")


def test_a_command_works_on_each_event(sidecar: SidecarProcess, name: str, tmp_path: Path) -> None:
    event_id = publish(sidecar, "default", name, n=1)
    seen = tmp_path / "seen"
    script = (
        f'cat > {seen}.$CCO_DELIVERY_ATTEMPT; test "$CCO_DELIVERY_ATTEMPT" = 2 || {{ echo "not yet" >&2; exit 3; }}'
    )
    done = run_cco(sidecar, "consumers", "work", name, "--limit", "2", "--", "sh", "-c", script)
    assert done.returncode == 0 and "exit status 3: not yet" in done.stderr
    bodies = [json.loads(seen.with_suffix(f".{attempt}").read_text()) for attempt in (1, 2)]
    assert [body["event_id"] for body in bodies] == [event_id, event_id]
    shown = json.loads(consumers(sidecar, "show", name, "--format", "json"))
    assert shown["in_flight_count"] == 0 and shown["dead_letter_count"] == 0


def test_no_event_is_taken_beyond_the_limit(sidecar: SidecarProcess, name: str) -> None:
    for n in range(3):
        publish(sidecar, "default", name, n=n)
    run_cco(sidecar, "consumers", "work", name, "--limit", "1", "--", "true")
    assert f"{name}  2 behind, 0 in flight" in consumers(sidecar, "list")


def test_a_command_that_always_fails_leaves_a_dead_letter(sidecar: SidecarProcess, name: str) -> None:
    publish(sidecar, "default", name, n=1)
    run_cco(sidecar, "consumers", "work", name, "--limit", "2", "--", "false")
    (row,) = csv.DictReader(io.StringIO(consumers(sidecar, "dead-letters", name, "--format", "csv")))
    assert (row["event_type"], row["attempts"], row["reason"]) == (name, "2", "exit status 1")
    inspected = json.loads(consumers(sidecar, "inspect", row["dead_letter_id"]))
    assert inspected["event"]["data"] == {"n": 1}
    assert consumers(sidecar, "replay", name) == "1 dead letter delivered again\n"
    assert "replaying" in consumers(sidecar, "dead-letters", name)
    assert consumers(sidecar, "discard", row["dead_letter_id"]) == f"deleted {row['dead_letter_id']}\n"
    assert consumers(sidecar, "pull", name, "--timeout", "0") == "no events\n"


def test_a_command_that_cannot_be_run_takes_no_event(sidecar: SidecarProcess, name: str) -> None:
    publish(sidecar, "default", name, n=1)
    fails(run_cco(sidecar, "consumers", "work", name, "--", "/no/such/program"), "cannot run /no/such/program")
    assert "1 behind, 0 in flight, 0 dead letters" in consumers(sidecar, "show", name)


def test_what_is_made_a_dead_letter_is_called_so(sidecar: SidecarProcess, name: str) -> None:
    publish(sidecar, "default", name, n=1)
    (taken,) = json.loads(consumers(sidecar, "pull", name, "--format", "json"))
    assert "1 made dead letters" in consumers(sidecar, "nack", name, taken["delivery_id"], "--dead-letter")


def test_a_consumer_is_reset_and_deleted(sidecar: SidecarProcess, name: str) -> None:
    publish(sidecar, "default", name, n=1)
    consumers(sidecar, "pull", name, "--ack")
    assert consumers(sidecar, "reset", name, "--since", "0") == f"{name} begins again at the oldest event\n"
    assert consumers(sidecar, "reset", name, "--since", "1h").startswith(f"{name} continues after evt-")
    assert f"  {name}  " in consumers(sidecar, "pull", name, "--ack")
    assert consumers(sidecar, "delete", name) == f"deleted {name} and 0 dead letters\n"
    fails(run_cco(sidecar, "consumers", "show", name), f"consumer '{name}' not found")


def test_wrong_usage_is_refused(sidecar: SidecarProcess, name: str) -> None:
    misused(run_cco(sidecar, "consumers", "reset", name), "--since")
    misused(run_cco(sidecar, "consumers", "work", name), "COMMAND")
    fails(run_cco(sidecar, "consumers", "create", name, "--shared"), "exists with other settings (event_types")
    fails(run_cco(sidecar, "consumers", "create", fresh("q"), "--agent-type", "qa-engineer"), "'shared' must be true")
