"""Secrets, storing them, and searching for them where they must not be."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import grpc
from tests.support.sidecars import call, events, open_records

from cco_sidecar.client.errors import error_of
from cco_sidecar.testing.agents import SpawnedAgent, scripted_command
from cco_sidecar.testing.process import SidecarProcess

SECRET = "s3cr3t-Zx81@väluē"
# Every line of it is a secret.
LINES = "first-line-MIIEv@\nsecond-line-BAQEF@\n\nthird-line-AoIBA@\nend@\n"
RUNNERS: dict[str, Any] = {
    "default": {"command": scripted_command(), "output": "stream-json", "environment": {"TASK_SCRIPT": "[]"}},
    # Gets a credential from its runner.
    "go-specialist": {"credentials": ["RUNNER_KEY"]},
    "rust-specialist": {"credentials": ["NEVER_STORED"]},
    # A program that is looked up in PATH.
    "swift-specialist": {"command": ["python3", scripted_command()[1]], "credentials": ["RUNNER_KEY"]},
}
AGENTS: dict[str, Any] = {"runners": RUNNERS}


def store(sidecar: SidecarProcess, name: str, value: str) -> dict[str, Any]:
    stored: dict[str, Any] = call(sidecar, "PUT", f"/api/credentials/{name}", json={"value": value})
    return stored


def value_of(sidecar: SidecarProcess, name: str) -> str:
    value: str = call(sidecar, "GET", f"/api/credentials/{name}")["value"]
    return value


def names(sidecar: SidecarProcess) -> list[str]:
    return [each["name"] for each in call(sidecar, "GET", "/api/credentials")["credentials"]]


def states(sidecar: SidecarProcess, project: str) -> set[str]:
    """The statuses of all agents of a project."""
    return {agent["status"] for agent in call(sidecar, "GET", f"/api/agents?project_id={project}")["agents"]}


def key_file(sidecar: SidecarProcess) -> Path:
    """Its default path: below HOME."""
    return sidecar.storage.parent / ".cco" / "credentials.key"


def python(code: str) -> dict[str, Any]:
    """A step that runs a program, which may print anything."""
    return {"do": "run", "command": [sys.executable, "-c", "import json, os, sys\n" + code]}


def proof(name: str) -> dict[str, Any]:
    """A step that prints the hash of a variable, which proves its value without showing it."""
    return python(f"import hashlib\nprint(hashlib.sha256(os.environb[b{name!r}]).hexdigest())")


def hash_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def pieces(value: str) -> list[bytes]:
    """Each line of a secret that is long enough to reveal something."""
    return [line.encode() for line in value.split("\n") if len(line) >= 8]


def unique(value: str, name: str) -> str:
    """A secret used by this test only, so that traces of other tests do not count."""
    return value.replace("@", f"-{name}-")


def files_with(directory: Path, value: str) -> list[str]:
    """Files below a directory that contain a secret, or a line of it, verbatim or as JSON."""
    wanted = pieces(value)
    wanted += [json.dumps(piece.decode())[1:-1].encode() for piece in wanted]
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            if any(piece in data for piece in wanted):
                found.append(str(path.relative_to(directory)))
    return found


def assert_nowhere(sidecar: SidecarProcess, agent: SpawnedAgent, project: str, value: str) -> None:
    """The secret is in nothing that the sidecar shows or stores."""
    shown = {
        "the agent": agent.get(),
        "the agents": call(sidecar, "GET", f"/api/agents?project_id={project}"),
        "its log": agent.logs(),
        "the events": events(sidecar, project),
        "the results": call(sidecar, "GET", f"/api/results?project_id={project}"),
        "a context": call(sidecar, "GET", f"/api/context/issue-123/code-reviewer?project_id={project}"),
        "the status": call(sidecar, "GET", "/status"),
    }
    for what, answer in shown.items():
        text = json.dumps(answer, ensure_ascii=False)
        for piece in pieces(value):
            assert json.dumps(piece.decode(), ensure_ascii=False)[1:-1] not in text, f"{what} has it: {text[:3000]}"
    assert files_with(sidecar.storage, value) == []


def code_of(problem: grpc.RpcError) -> tuple[str, str]:
    return problem.code().name, error_of(problem).code


def database_of(sidecar: SidecarProcess) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(open_records(sidecar.storage))
