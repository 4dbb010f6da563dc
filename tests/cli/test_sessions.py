"""`cco sessions` and the `ao-*` commands, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.sidecars import fresh

from cco_sidecar.testing.process import SidecarProcess, run_cco

# Answers with its task; exits with 3 if that begins with `fail`, and sleeps if it begins with `sleep`.
PROGRAM = """
import json, sys, time
task = sys.stdin.read().split("\\n\\nYou are working")[0]
if task.startswith("sleep"): time.sleep(1000)
print(json.dumps({"type": "result", "subtype": "success", "session_id": "s", "result": task.upper()}), flush=True)
if task.startswith("fail"): sys.exit(3)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    directory = tmp_path_factory.mktemp("sessions")
    (directory / "program.py").write_text(PROGRAM)
    (directory / "root").mkdir()
    (directory / "second").mkdir()
    command = [sys.executable, str(directory / "program.py")]
    runner = {"command": command, "resume": command, "stdin": "prompt", "output": "stream-json"}
    # Where the commands look for it, too.
    config = directory / ".cco" / "config.json"
    config.parent.mkdir()
    projects = {"default-project": str(directory / "root"), "second": str(directory / "second")}
    config.write_text(json.dumps({"agents": {"runners": {"default": runner}}, "projects": projects}))
    sidecar = SidecarProcess(directory / "storage", directory / "root", config=config)
    yield sidecar
    sidecar.stop()


def ran(
    sidecar: SidecarProcess, program: str, *arguments: str, given: str | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command of the wheel."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    environment = clean | {
        "CCO_SIDECAR_PORT": str(sidecar.port),
        "CCO_SIDECAR_GRPC_PORT": str(sidecar.grpc_port),
        "CCO_SIDECAR_STORAGE": str(sidecar.storage),
        "HOME": str(sidecar.storage.parent),
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        input=given if given is not None else "",
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(sidecar: SidecarProcess, program: str, *arguments: str, given: str | None = None) -> str:
    done = ran(sidecar, program, *arguments, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_whole_cycle_of_a_session(place: SidecarProcess) -> None:
    name = fresh("s")
    assert said(place, "ao-status", name) == "not_existent\n"
    assert said(place, "ao-new", name, "-p", "write it") == "WRITE IT\n"
    assert said(place, "ao-status", name) == "finished\n"
    assert said(place, "ao-get-result", name) == "WRITE IT\n"
    assert said(place, "ao-resume", name, "-p", "and then", given="more") == "AND THEN\nMORE\n"
    listed = said(place, "ao-list-sessions")
    line = next(line for line in listed.splitlines() if line.startswith(f"{name} "))
    root = place.root
    assert line.startswith(f"{name} (session-id: ses_") and line.endswith(f", project-dir: {root})")
    shown = said(place, "ao-show-config", name).splitlines()
    assert shown[0] == f"Configuration for session '{name}':"
    assert shown[2] == f"  Project dir:     {root}" and shown[3] == "  Agent:           fullstack-developer"
    assert said(place, "ao-delete-all") == "All sessions removed\n"
    assert said(place, "ao-clean") == "No sessions to remove\n"
    assert said(place, "ao-list-sessions") == "No sessions found\n"


def test_a_prompt_comes_from_standard_input(place: SidecarProcess) -> None:
    assert said(place, "ao-start", fresh("s"), given="from a pipe") == "FROM A PIPE\n"


@pytest.mark.parametrize(
    ("program", "arguments", "status", "text"),
    [
        ("ao-new", ("a b", "-p", "x"), 1, "Error: Session name: expected 1 to 60 letters"),
        ("ao-new", ("taken", "-p", "x"), 1, "Error: Session 'taken' already exists. Use 'ao-resume'"),
        ("ao-new", ("s1", "-p", "x", "--agent", "nobody"), 1, "Error: Agent not found: nobody"),
        ("ao-new", ("s1",), 1, "Error: no prompt given"),
        ("ao-new", ("s1", "-p", "x", "--project-dir", "/"), 1, "Error: no project of the sidecar has the directory /"),
        ("ao-new", ("s2", "-p", "fail it"), 1, "Error: session 's2' failed: exited with code 3"),
        ("ao-new", (), 2, "Missing argument"),
        ("ao-resume", ("nobody", "-p", "x"), 1, "Error: Session 'nobody' does not exist. Use 'ao-new'"),
        ("ao-get-result", ("nobody",), 1, "Error: Session 'nobody' does not exist"),
        ("ao-show-config", ("nobody",), 1, "Error: Session 'nobody' does not exist"),
    ],
)
def test_errors_and_exit_codes(
    place: SidecarProcess, program: str, arguments: tuple[str, ...], status: int, text: str
) -> None:
    ran(place, "ao-new", "taken", "-p", "x")
    done = ran(place, program, *arguments)
    assert done.returncode == status and text in done.stderr, (done.returncode, done.stderr)


def test_blueprints_are_listed_and_an_inactive_one_is_refused(place: SidecarProcess) -> None:
    name = fresh("bp")
    run_cco(place, "blueprints", "create", name, "--description", "Does it")
    listed = said(place, "ao-list-agents")
    assert listed == said(place, "ao-list-blueprints")
    assert f"---\n\n{name}:\nDoes it\n\n" in listed and "python-specialist:\n" in listed
    assert said(place, "ao-new", fresh("s"), "-p", "x", "--agent", name) == "X\n"
    run_cco(place, "blueprints", "deactivate", name)
    assert name not in said(place, "ao-list-agents")
    refused = ran(place, "ao-new", fresh("s"), "-p", "x", "--agent", name)
    assert (refused.returncode, refused.stderr) == (1, f"Error: Agent '{name}' is inactive\n")


def test_a_project_is_named_by_its_directory(place: SidecarProcess) -> None:
    name, second = fresh("s"), place.root.parent / "second"
    assert said(place, "ao-new", name, "-p", "x", "--project-dir", str(second)) == "X\n"
    assert said(place, "ao-status", name) == "not_existent\n"
    assert said(place, "ao-status", name, "--project-dir", str(second)) == "finished\n"
    assert f"project-dir: {second})" in said(place, "ao-list-sessions", "--project-dir", str(second))


def test_a_directory_is_compared_with_those_of_the_sidecar(place: SidecarProcess, tmp_path: Path) -> None:
    """Not with the one where the command runs."""
    name = fresh("s")
    wrong = ran(place, "ao-new", name, "-p", "x", "--project-dir", str(tmp_path), cwd=tmp_path)
    assert wrong.returncode == 1 and f"it has: {place.root}" in wrong.stderr
    assert said(place, "ao-status", name) == "not_existent\n"
    right = ran(place, "ao-new", name, "-p", "x", "--project-dir", str(place.root), cwd=tmp_path)
    assert (right.returncode, right.stdout) == (0, "X\n")


def test_cco_sessions(place: SidecarProcess) -> None:
    name = fresh("s")

    def cco(*arguments: str) -> str:
        done = run_cco(place, "sessions", *arguments, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    assert f"name: {name}\n" in cco("new", name, "-p", "sleep", "--detach")
    early = run_cco(place, "sessions", "result", name)
    assert early.returncode == 1 and "has not ended" in early.stderr
    assert cco("stop", name) == f"session {name} is stopped\n"
    assert cco("resume", name, "-p", "go on") == "GO ON\n"
    assert cco("result", name) == "GO ON\n"
    assert name in cco("list", "--status", "finished")
    assert json.loads(cco("show", name, "--format", "json"))["status"] == "finished"
    events = cco("events", name)
    assert "message user  sleep" in events and "message assistant  GO ON" in events
    assert len(json.loads(cco("events", name, "--after", "2", "--limit", "1", "--format", "json"))["events"]) == 1
    assert cco("delete", name).startswith(f"deleted session {name} with ")
