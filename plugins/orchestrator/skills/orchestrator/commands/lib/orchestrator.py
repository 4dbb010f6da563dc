"""What the commands share: the addresses of the servers, requests, arguments. Standard library only."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn

RUNTIME = ("AGENT_ORCHESTRATOR_SESSION_API_URL", "AGENT_ORCHESTRATOR_SESSION_MANAGER_URL")
REGISTRY = ("AGENT_ORCHESTRATOR_AGENT_API_URL",)
PROJECT_DIR = "AGENT_ORCHESTRATOR_PROJECT_DIR"
_PORTS, _CAPABILITIES = "orchestrator-ports.json", "capabilities.json"
_POLL_SECONDS = 0.5
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def fail(text: str) -> NoReturn:
    """Ends the command with an error."""
    print(f"Error: {text}", file=sys.stderr)
    raise SystemExit(1)


def _storage() -> Path | None:
    """Returns the storage of a sidecar that serves the ports."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    named = os.environ.get("CCO_SIDECAR_STORAGE")
    places = [named] if named else [f"{state}/cco-sidecar", "/tmp/cco-sidecar"]
    found = (Path(place).expanduser() for place in places)
    return next((place for place in found if (place / _PORTS).exists()), None)


def base(variables: tuple[str, ...], port: int) -> str:
    """Returns the address of a server: from the environment, else of the sidecar of this user."""
    for name in variables:
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    storage = _storage()
    if storage is None:
        fail(f"no sidecar serves the orchestrator; start it with 'make start-bg', or set {variables[0]}")
    try:
        ports = json.loads((storage / _PORTS).read_text())
        secret = json.loads((storage / _CAPABILITIES).read_text())[""]
    except (OSError, ValueError, KeyError):
        fail(f"cannot read the address in {storage}; set {variables[0]}, which 'cco compat env' prints")
    return f"http://127.0.0.1:{ports[port]}/k/{secret}"


def call(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    """Returns the status and the JSON of an answer. Ends the command if there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    if os.environ.get("DEBUG_LOGGING", "").lower() in ("1", "true", "yes"):
        print(f"{method} {re.sub('/k/[^/]+', '/k/...', url)}", file=sys.stderr)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as problem:
        try:
            return problem.code, json.loads(problem.read())
        except ValueError:
            return problem.code, {"detail": str(problem)}
    except (OSError, ValueError) as problem:
        fail(f"no answer from {re.sub('/k/[^/]+', '', url)}: {getattr(problem, 'reason', problem)}")


def must(method: str, url: str, body: Any = None) -> Any:
    """Returns the JSON of an answer. Ends the command if it is an error."""
    status, answer = call(method, url, body)
    if status >= 300:
        fail(detail(answer))
    return answer


def detail(answer: Any) -> str:
    found = answer.get("detail") if isinstance(answer, dict) else answer
    return found if isinstance(found, str) else json.dumps(found)


class Runtime:
    """The server of sessions."""

    def __init__(self) -> None:
        self._base = base(RUNTIME, 0)

    def sessions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = must("GET", f"{self._base}/sessions")["sessions"]
        return found

    def find(self, name: str) -> dict[str, Any] | None:
        return next((each for each in self.sessions() if each["session_name"] == name), None)

    def require(self, name: str) -> dict[str, Any]:
        found = self.find(name)
        if found is None:
            fail(f"Session '{name}' does not exist")
        return found

    def run(self, **job: Any) -> str:
        """Starts or resumes a session, waits for its end and returns its result."""
        session_id = must("POST", f"{self._base}/jobs", job)["job_id"]
        while True:
            found = must("GET", f"{self._base}/jobs/{session_id}")
            if found["status"] in ("completed", "failed"):
                break
            time.sleep(_POLL_SECONDS)
        if found["status"] == "failed":
            fail(found["error"] or "the session failed")
        return self.result(session_id)

    def result(self, session_id: str) -> str:
        found: str = must("GET", f"{self._base}/sessions/{session_id}/result")["result"]
        return found

    def delete(self, session_id: str) -> None:
        must("DELETE", f"{self._base}/sessions/{session_id}")


def agents() -> list[dict[str, Any]]:
    """Returns the blueprints whose agents can be started."""
    found = must("GET", f"{base(REGISTRY, 2)}/agents")
    return [each for each in found if each["status"] == "active"]


def parser(text: str, *, named: bool = True, prompt: bool = False) -> argparse.ArgumentParser:
    """Returns the parser of a command."""
    made = argparse.ArgumentParser(description=text)
    if named:
        made.add_argument("session_name", type=_session_name, help="name of the session")
    if prompt:
        made.add_argument("-p", "--prompt", help="what the agent should do; standard input follows, if there is any")
    made.add_argument("--project-dir", default=os.environ.get(PROJECT_DIR, ""), help="directory of the project")
    return made


def _session_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        fail("Session name: expected 1 to 60 letters, digits, dashes and underscores")
    return text


def read_prompt(given: str | None) -> str:
    """Returns the prompt, and then standard input."""
    texts = [given] if given else []
    if not sys.stdin.isatty():
        texts.append(sys.stdin.read())
    text = "\n".join(filter(None, texts))
    if not text.strip():
        fail("no prompt given: use -p, or standard input")
    return text
