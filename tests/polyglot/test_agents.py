"""The agents of examples/, in five languages, at work at once while their sidecar is killed, then restarted in order."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from tests.polyglot import published
from tests.support.repositories import OURS, commit_all
from tests.support.sidecars import fresh, port_options, until

from cco_sidecar.testing.process import Agent, SidecarProcess, agent_environment

pytestmark = pytest.mark.polyglot

PART = 20
COMMENTS = 3 * PART
# A context of more than the 4 MB that clients of gRPC receive by default.
FILES, FILE_BYTES = 25, 250_000


class Program:
    """A running agent, and the lines that it has printed."""

    def __init__(self, name: str, sidecar: SidecarProcess, identity: Agent) -> None:
        self.name = name
        self.identity = identity
        self.process = subprocess.Popen(
            [
                "make",
                "-s",
                "--no-print-directory",
                "-C",
                str(published.examples()),
                *published.options(),
                f"run-{name}",
            ],
            env=os.environ | agent_environment(sidecar, identity),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.complaints = ""
        self._readers = [threading.Thread(target=self._read), threading.Thread(target=self._read_complaints)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        self.complaints = self.process.stderr.read()

    @property
    def comments(self) -> list[str]:
        return [line for line in self.lines if line.startswith("comment ")]

    def wait(self) -> int:
        code = self.process.wait(timeout=120)
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()


@dataclass
class Review:
    """A review that all agents have followed."""

    sidecar: SidecarProcess
    programs: dict[str, Program]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("polyglot") / "project"
    path.mkdir()
    for number in range(FILES):
        line = f"value_{number} = 'a line of a file that is not small'\n"
        (path / f"module_{number}.py").write_text(line * (FILE_BYTES // len(line)))
    commit_all(path)
    return path


@pytest.fixture(scope="module")
def built() -> list[str]:
    """The agents whose languages are installed, built."""
    names = [name for name in published.PROGRAMS if not published.missing(name)]
    for name in names:
        published.build(name)
    return names


@pytest.fixture(scope="module")
def review(project: Path, built: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """Every agent has followed one review, in whose middle the sidecar was killed, and later stopped in order."""
    storage = tmp_path_factory.mktemp("storage") / "storage"
    ports = port_options()
    sidecar = SidecarProcess(storage, project, *ports)
    # The tokens are in their last five minutes, so that each agent has to exchange its own.
    identities = {name: sidecar.agent(issue=f"issue-{name}", ttl_seconds=200) for name in built}
    programs = {name: Program(name, sidecar, identity) for name, identity in identities.items()}
    try:
        for program in programs.values():
            until(lambda program=program: _started(sidecar, program), f"{program.name} to start")
        _publish_comments(sidecar, 0)
        for part, end in ((1, SidecarProcess.kill), (2, SidecarProcess.stop)):
            _until_all_read(programs, (part - 1) * PART + 5)
            publishing = threading.Thread(target=_publish_comments, args=(sidecar, part))
            publishing.start()
            assert not end(sidecar)
            sidecar = SidecarProcess(storage, project, *ports)
            publishing.join()
        until(lambda: _accepted(sidecar, 0, "review_finished"), "the end to be published")
        for program in programs.values():
            program.wait()
        yield Review(sidecar, programs)
    finally:
        for program in programs.values():
            program.kill()
        sidecar.stop()


def _ended(program: Program) -> bool:
    assert program.process.poll() is None, program.complaints
    return False


def _started(sidecar: SidecarProcess, program: Program) -> bool:
    listed = sidecar.request(
        "GET",
        "/api/events",
        sidecar.operator,
        params={"event_type": "implementation_started", "project_id": program.identity.project},
    ).json()
    return program.identity.id in {event["publisher"] for event in listed["events"]} or _ended(program)


def _publish(sidecar: SidecarProcess, number: int, event_type: str = "review_comment") -> requests.Response:
    body = {"data": {"number": number}, "project_id": "project-abc", "idempotency_key": f"{event_type} {number}"}
    return sidecar.request("POST", f"/api/events/{event_type}", sidecar.operator, json=body)


def _until_all_read(programs: dict[str, Program], comments: int) -> None:
    for program in programs.values():
        until(lambda program=program: len(program.comments) > comments or _ended(program), f"{program.name} to read")


def _publish_comments(sidecar: SidecarProcess, part: int) -> None:
    """A third of the comments; each is repeated while no sidecar listens."""
    for number in range(part * PART, (part + 1) * PART):
        until(lambda number=number: _accepted(sidecar, number, "review_comment"), f"comment {number} to be published")


def _accepted(sidecar: SidecarProcess, number: int, event_type: str) -> bool:
    try:
        return _publish(sidecar, number, event_type).status_code == 202
    except requests.ConnectionError:
        return False


@pytest.fixture(params=published.PROGRAMS)
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    name = request.param
    if programs := published.missing(name):
        pytest.skip(f"{name}: not installed: {', '.join(programs)}")
    yield request.getfixturevalue("review").programs[name]


def test_the_agent_ends_well(program: Program) -> None:
    assert (program.complaints, program.process.returncode) == ("", 0)


def test_the_context_was_over_4_mb(program: Program) -> None:
    files, size = (int(word) for word in program.lines[0].split() if word.isdigit())
    assert files == FILES and size > 4 * 1024 * 1024


def test_each_comment_was_handled_once(program: Program) -> None:
    assert program.comments == [f"comment {number}" for number in range(COMMENTS)]


def test_the_result_was_stored(program: Program, review: Review) -> None:
    listed = review.sidecar.request(
        "GET",
        "/api/results",
        review.sidecar.operator,
        params={"issue_id": program.identity.issue, "project_id": "project-abc"},
    ).json()
    (stored,) = listed["results"]
    assert stored["agent_id"] == program.identity.id
    assert stored["result"]["status"] == "success"
    assert stored["result"]["metrics"]["comments"] == COMMENTS


def test_each_announcement_was_published_once(program: Program, review: Review) -> None:
    listed = review.sidecar.request(
        "GET", "/api/events", review.sidecar.operator, params={"topic": "implementation", "project_id": "project-abc"}
    ).json()
    mine = [event["event_type"] for event in listed["events"] if event["publisher"] == program.identity.id]
    assert mine == ["implementation_started", "implementation_complete"]


def test_the_token_was_exchanged(program: Program, review: Review) -> None:
    answer = review.sidecar.request("GET", "/api/events", program.identity)
    assert (answer.status_code, answer.json()["code"]) == (401, "AUTH_001"), answer.text


def test_the_readme_does_what_it_says(review: Review, tmp_path: Path) -> None:
    """Its commands, with this sidecar, the bare stubs, and the packages that are built already.

    The agent writes to a file of its own: on a terminal, where both write to one place, lines may mix.
    """
    text = (OURS / "examples" / "README.md").read_text()
    commands = re.search(r"```text\n(make packages\n.*?)```", text, re.DOTALL)
    assert commands is not None
    script = commands[1].removeprefix("make packages\n").replace("127.0.0.1:3002", review.sidecar.target)
    agent = shlex.join(["make", "-s", "-C", str(published.examples()), *published.options(), "python-stubs"])
    script = script.replace("make -C examples go &", f'{agent} >"$AGENT_OUTPUT" &') + 'wait "$!"\n'
    (tmp_path / "cco").write_text(f'#!/bin/sh\nexec {sys.executable} -m cco_sidecar.cli.main "$@"\n')
    (tmp_path / "cco").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CCO_SIDECAR_STORAGE": str(review.sidecar.storage),
        "AGENT_OUTPUT": str(tmp_path / "output.txt"),
    }
    published.run("bash", "-euc", script, environment=environment, timeout=120)
    assert "comment 1" in (tmp_path / "output.txt").read_text().splitlines()


@pytest.mark.parametrize("name", published.PROGRAMS)
def test_an_error_is_shown_with_its_code(name: str, review: Review) -> None:
    """The details of a gRPC status are decoded in every language."""
    if programs := published.missing(name):
        pytest.skip(f"{name}: not installed: {', '.join(programs)}")
    sidecar = review.sidecar
    identity = sidecar.agent(issue=fresh("issue"))
    revoked = sidecar.request("POST", "/api/tokens/revoke", sidecar.operator, json={"agent_id": identity.id})
    assert revoked.status_code == 200
    refused = Program(name, sidecar, identity)
    assert refused.wait() != 0
    assert "AUTH_001: " in refused.complaints
