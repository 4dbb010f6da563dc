"""`cco patterns`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import fails, misused, printed
from tests.support.sidecars import fresh, publish

from cco_sidecar.testing.process import SidecarProcess, run_cco


@pytest.fixture
def kind() -> str:
    """A type of events that no other test publishes."""
    return fresh("kind")


def patterns(sidecar: SidecarProcess, *line: str) -> str:
    return printed(run_cco(sidecar, "patterns", *line))


class Replies:
    """Answers so many requests with what a script prints; it gets the event on its stdin."""

    def __init__(self, sidecar: SidecarProcess, kind: str, count: int, script: str) -> None:
        printed(run_cco(sidecar, "consumers", "create", kind, "--event-type", kind, "--shared"))
        answer = (
            f'{sys.executable} -m cco_sidecar.cli.main patterns reply "$CCO_EVENT_ID" {kind}_done --data "$({script})"'
        )
        line = ("consumers", "work", kind, "--limit", str(count), "--", "sh", "-c", answer)
        self._done: list[subprocess.CompletedProcess[str]] = []
        self._thread = threading.Thread(target=lambda: self._done.append(run_cco(sidecar, *line)))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        assert self._done and self._done[0].returncode == 0, self._done


def test_a_request_prints_its_reply(sidecar: SidecarProcess, kind: str) -> None:
    with Replies(sidecar, kind, 2, "echo '{\"ok\": true}'"):
        text = patterns(sidecar, "request", kind, "--data", '{"n": 1}', "--timeout", "20000")
        assert f"{kind}_done" in text and '{"ok":true}' in text
        shown = json.loads(patterns(sidecar, "request", kind, "--reply-type", f"{kind}_done", "--format", "json"))
        assert shown["data"] == {"ok": True} and shown["causation_id"].startswith("evt-")
    fails(run_cco(sidecar, "patterns", "request", kind, "--timeout", "0"), f"0 of 1 replies to '{kind}' within 0 s")


def test_items_are_divided_and_the_replies_come_in_order(sidecar: SidecarProcess, kind: str, tmp_path: Path) -> None:
    items = tmp_path / "items.json"
    items.write_text('[{"n": 1}, {"n": 2}, {"n": 3}]')
    script = 'python3 -c \'import json, sys; print(json.dumps({"twice": 2 * json.load(sys.stdin)["data"]["n"]}))\''
    with Replies(sidecar, kind, 3, script):
        found = json.loads(patterns(sidecar, "scatter", kind, "--input", str(items), "--format", "json"))
    assert [event["data"]["twice"] for event in found] == [2, 4, 6]
    items.write_text('{"n": 1}')
    misused(run_cco(sidecar, "patterns", "scatter", kind, "--input", str(items)), "must be a JSON array of objects")


def test_waiting(sidecar: SidecarProcess, kind: str) -> None:
    a, b = f"{kind}_a", f"{kind}_b"
    ids = [publish(sidecar, "default", each, n=n) for n, each in enumerate((a, a, b))]

    def waited(*line: str) -> list[str]:
        found = json.loads(patterns(sidecar, "wait", *line, "--since", "10m", "--format", "json"))
        return [event["event_id"] for event in found]

    assert waited(b, a) == [ids[0]]
    assert waited(a, b, "--all") == [ids[0], ids[2]]
    assert waited(a, b, "--count", "3") == ids
    assert waited(a, b, "--count", "2", "--filter", "n:>=1") == ids[1:]
    late = run_cco(
        sidecar, "patterns", "wait", a, "--count", "2", "--distinct", "publisher", "--since", "10m", "--timeout", "0"
    )
    assert (
        late.returncode == 1
        and f"1 of 2 events of type {a} within 0 s" in late.stderr
        and a in late.stderr.splitlines()[0]
    )
    misused(run_cco(sidecar, "patterns", "wait", a, "--all", "--count", "2"), "leave out --count")


def test_a_phase_ends_when_all_are_done(sidecar: SidecarProcess, kind: str) -> None:
    fails(run_cco(sidecar, "patterns", "phase", kind, "--wait", "1", "--timeout", "0"), "0 of 1 events")
    assert patterns(sidecar, "phase", kind, "--data", '{"note": "x"}').startswith("published evt-")
    (done,) = json.loads(patterns(sidecar, "phase", kind, "--wait", "1", "--format", "json"))
    assert done["data"] == {"phase": kind, "note": "x"}


def refine(sidecar: SidecarProcess, kind: str, *line: str) -> Any:
    return run_cco(sidecar, "patterns", "refine", kind, "--data", '{"n": 1}', "--accept", "good:true", *line)


def test_a_request_is_refined(sidecar: SidecarProcess, kind: str, tmp_path: Path) -> None:
    refused = tmp_path / "refused.json"
    script = """grep -q '"n":2' && echo '{"good": true}' || echo '{"good": false}'"""
    revise = f"""cat > {refused}; echo '{{"n": 2}}'"""
    with Replies(sidecar, kind, 2, script):
        assert '{"good":true}' in printed(refine(sidecar, kind, "--", "sh", "-c", revise))
    assert json.loads(refused.read_text())["data"] == {"good": False}


def test_what_can_go_wrong_while_refining(sidecar: SidecarProcess, kind: str) -> None:
    with Replies(sidecar, kind, 4, "echo '{}'"):
        fails(refine(sidecar, kind, "--rounds", "1", "--", "true"), f"no reply to '{kind}' was accepted in 1 rounds")
        fails(refine(sidecar, kind, "--", "false"), "false failed with exit status 1")
        fails(refine(sidecar, kind, "--", "echo", "[]"), "the output of echo must be a JSON object")
        fails(refine(sidecar, kind, "--", "no-such-program"), "cannot run no-such-program")
    fails(run_cco(sidecar, "patterns", "refine", kind, "--accept", "==", "--", "true"), "filter")


def guard(sidecar: SidecarProcess, name: str, *line: str) -> Any:
    return run_cco(sidecar, "patterns", "guard", name, "--max-failures", "2", *line)


def test_a_command_that_fails_too_often_is_not_run(sidecar: SidecarProcess, kind: str, tmp_path: Path) -> None:
    assert guard(sidecar, kind, "--", "echo", "fine").stdout == "fine\n"
    assert guard(sidecar, kind, "--", "sh", "-c", "exit 7").returncode == 7
    # What was mistyped says nothing about what is guarded.
    fails(guard(sidecar, kind, "--", "no-such-program"), "cannot run no-such-program")
    assert guard(sidecar, kind, "--", "sh", "-c", "exit 8").returncode == 8
    ran = tmp_path / "ran"
    refused = guard(sidecar, kind, "--", "touch", str(ran))
    assert refused.returncode == 75 and f"circuit '{kind}' is open after 2 failures" in refused.stderr
    assert not ran.exists()
    assert guard(sidecar, kind, "--open-seconds", "0", "--", "touch", str(ran)).returncode == 0 and ran.exists()
    assert guard(sidecar, kind, "--", "sh", "-c", "kill -9 $$").returncode == 137
