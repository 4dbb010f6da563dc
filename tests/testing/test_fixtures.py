"""A third-party test suite with the fixtures of `cco_sidecar.testing`, run as its authors would run it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.processes import of_run, pid_in
from tests.support.repositories import OURS
from tests.support.sidecars import small_repository, until

PAGE = (OURS / "docs" / "testing.md").read_text()
CONFTEST, EXAMPLE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

USES = """
import grpc
import pytest
from orchestra.v1 import event_service_pb2, event_service_pb2_grpc


def test_the_documented_cycle_without_a_script(sidecar, scripted_agent):
    agent = scripted_agent(issue="issue-cycle")
    assert agent.wait()["status"] == "completed"
    assert [line.partition(":")[0] for line in agent.logs()] == ["context", "result", "event"]
    results = sidecar.request("GET", "/api/results?issue_id=issue-cycle", sidecar.operator).json()["results"]
    assert [result["agent_id"] for result in results] == [agent.id]


def test_an_agent_that_crashes(scripted_agent):
    agent = scripted_agent([{"do": "print", "text": "so far"}, {"do": "exit", "code": 7}], agent_type="go-specialist")
    ended = agent.wait()
    assert (ended["status"], ended["exit_code"], ended["agent_type"]) == ("failed", 7, "go-specialist")
    assert agent.logs() == ["so far"]


def test_a_script_that_is_wrong_is_said(scripted_agent):
    agent = scripted_agent([{"do": "prnt", "text": "x"}])
    assert agent.wait()["exit_code"] == 1
    assert len(agent.logs()) == 1 and "unknown step" in agent.logs()[0] and "print" in agent.logs()[0]
    with pytest.raises(ValueError, match="'complted'"):
        agent.wait("complted")


def test_an_agent_that_is_stopped(scripted_agent):
    agent = scripted_agent([{"do": "sleep", "seconds": 600}])
    with pytest.raises(TimeoutError, match="is running"):
        agent.wait("completed", timeout=0.1)
    assert agent.stop(force=True)["status"] == agent.get()["status"] == "stopped"


LEFT = []


def test_that_leaves_an_agent_running(scripted_agent):
    LEFT.append(scripted_agent([{"do": "sleep", "seconds": 600}]))
    assert LEFT[0].wait("running")


def test_it_was_stopped_with_its_test():
    assert LEFT[0].get()["status"] == "stopped"


def test_identities_for_both_transports(sidecar, agent_token):
    one, other = agent_token("python-specialist", issue="issue-1"), agent_token("test-engineer", issue="issue-2")
    assert (one.type, one.issue, other.type) == ("python-specialist", "issue-1", "test-engineer") and one.id != other.id
    body = {"topic": "testing", "data": {}}
    assert sidecar.request("POST", "/api/events/mine", one, json=body).status_code == 202
    assert sidecar.request("GET", "/api/context/issue-2/python-specialist", one).status_code == 403
    with grpc.insecure_channel(sidecar.target) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        answer = stub.ListEvents(event_service_pb2.ListEventsRequest(event_type="mine"), metadata=one.metadata)
    assert [event.publisher for event in answer.events] == [one.id]


def test_it_serves_this_repository(sidecar, sidecar_root, pytestconfig):
    assert sidecar.root == sidecar_root == pytestconfig.rootpath
    assert sidecar.url.startswith("http://127.0.0.1:")
"""
FAILS = """
import pytest


@pytest.fixture(scope="session")
def sidecar_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    (root / "only_here.py").write_text("print('here')")
    return root


def test_that_fails_with_agents_running(sidecar, scripted_agent, agent_token):
    context = sidecar.request("GET", "/api/context/i/python-specialist", agent_token("python-specialist", "i")).json()
    assert [file["path"] for file in context["context"]["relevant_files"]] == ["only_here.py"]
    starts = {"do": "start", "command": ["sleep", "600"], "detached": True}
    scripted_agent([starts, {"do": "sleep", "seconds": 600}]).wait("running")
    assert not "this is what fails"


def test_that_cannot_spawn(scripted_agent):
    scripted_agent(agent_type="nobody")
"""
WAITS = """
def test_that_is_interrupted(scripted_agent, tmp_path):
    import os, pathlib, time
    agent = scripted_agent([{"do": "sleep", "seconds": 600}])
    agent.wait("running")
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A repository with the documented `conftest.py`."""
    root = small_repository(tmp_path / "suite")
    (root / "conftest.py").write_text(CONFTEST)
    return root


def line(suite: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", f"--basetemp={suite}/temporary", "-p", "no:cacheprovider", "-rA", *options]


def run(suite: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line(suite, *options), cwd=suite, capture_output=True, text=True, timeout=120, check=False, env=environment()
    )


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


def test_a_suite_that_uses_everything_passes_and_leaves_nothing(suite: Path) -> None:
    (suite / "test_documented.py").write_text(EXAMPLE)
    (suite / "test_uses.py").write_text(USES)
    done = run(suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{(EXAMPLE + USES).count('def test_')} passed" in done.stdout
    assert "warning" not in done.stdout.lower()
    assert of_run(suite) == []


def test_parallel_workers_have_a_sidecar_each(suite: Path) -> None:
    for number in range(2):
        (suite / f"test_documented_{number}.py").write_text(EXAMPLE)
    done = run(suite, "-n", "2", "--dist", "loadfile")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout and of_run(suite) == []


def test_a_failing_suite_leaves_nothing(suite: Path) -> None:
    (suite / "test_fails.py").write_text(FAILS)
    done = run(suite)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed" in done.stdout and "error" not in done.stdout.rpartition("\n=")[2]
    assert 'assert not "this is what fails"' in done.stdout
    assert "unknown agent type 'nobody'" in done.stdout
    assert of_run(suite) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_suite_leaves_nothing(suite: Path, number: signal.Signals) -> None:
    (suite / "test_waits.py").write_text(WAITS)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # A job in the background of a shell ignores SIGINT, and so would what it starts.
    running = subprocess.Popen(
        line(suite), cwd=suite, env=environment(), preexec_fn=lambda: signal.signal(number, signal.SIG_DFL), **quiet
    )
    try:
        assert pid_in(suite / "pid") == running.pid
        assert of_run(suite)
        running.send_signal(number)
        running.wait(60)
        until(lambda: not of_run(suite), "the end of the sidecar and its agents", 10)
    finally:
        running.kill()
        running.wait()
        for process in of_run(suite):
            process.kill()
