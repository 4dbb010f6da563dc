"""An agent that executes a script with the documented calls. Standard library only, so it starts fast.

The script is a JSON list of steps in ``TASK_SCRIPT``. The default is the documented cycle: context, result, event.
The agent is for tests, of agents and of the sidecar; any other program can take its place.

    {"do": "context"}                                       get the context, print the number of its files
    {"do": "result", "status": "success", ...}              store a result; every other key is part of it
    {"do": "event", "type": T, "topic": T, "data": {}}      publish
    {"do": "wait", "type": T, "filter": F, "timeout": ms}   wait for an event; exits with 3 if none arrives
    {"do": "heartbeat", "percent": n, "message": T, "needs_input": false}
    {"do": "ask", "question": T}                            request an approval, and wait until it is answered;
                                                            exits with 4 if it is denied
    {"do": "call", "method": M, "path": P, "body": {}, "expect": 200}   any call; exits with 5 on another status
    {"do": "report", "result": T, "cost": n, "turns": n, "input": n, "output": n}   print like `claude -p` does
    {"do": "print", "text": T, "stream": "stdout", "times": 1}
    {"do": "env", "name": N}                                print an environment variable
    {"do": "write", "path": P, "text": T}                   write a file below the working directory
    {"do": "run", "command": [...]}                         run a program and wait for it
    {"do": "start", "command": [...], "detached": false}    start a program without waiting for it
    {"do": "until", "path": P}                              wait until a file exists
    {"do": "repeat", "steps": [...], "until": P}            repeat steps until a file exists
    {"do": "sleep", "seconds": n} · {"do": "ignore", "signal": "SIGTERM"} · {"do": "allocate", "mb": n}
    {"do": "open", "count": n} · {"do": "kill", "signal": "SIGKILL"} · {"do": "exit", "code": n}
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

CYCLE: list[dict[str, Any]] = [
    {"do": "context"},
    {"do": "result", "status": "success", "files_created": ["src/feature.py"], "decisions": ["Implemented the task"]},
    {"do": "event", "type": "implementation_complete", "topic": "implementation"},
]
_ATTEMPTS = 100
_PAUSE_SECONDS = 0.05


class Agent:
    """Executes steps as the agent that the environment identifies."""

    def __init__(self, environment: Any = os.environ) -> None:
        self._url = environment["SIDECAR_URL"].rstrip("/")
        self._token = environment["JWT_TOKEN"]
        self._id = environment["AGENT_ID"]
        self._type = environment["AGENT_TYPE"]
        self._issue = environment["ISSUE_ID"]
        self._kept: list[Any] = []

    def run(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            if not isinstance(step, dict) or not hasattr(self, f"do_{step.get('do')}"):
                known = ", ".join(sorted(name[3:] for name in dir(self) if name.startswith("do_")))
                sys.exit(f"unknown step {json.dumps(step)}; a step is an object whose 'do' is one of {known}")
            arguments = {key: value for key, value in step.items() if key != "do"}
            getattr(self, f"do_{step['do']}")(**arguments)

    def call(self, method: str, path: str, body: Any = None, timeout: float = 70.0) -> tuple[int, Any]:
        """Returns the status and the JSON of a call. Waits for a sidecar that restarts."""
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        for attempt in range(_ATTEMPTS):
            try:
                with urllib.request.urlopen(request, timeout=timeout) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as refusal:
                if refusal.code != 503:
                    return refusal.code, json.load(refusal)
            except (OSError, http.client.HTTPException):
                # The connection failed, or the response was cut off.
                if attempt == _ATTEMPTS - 1:
                    raise
            time.sleep(_PAUSE_SECONDS)
        raise TimeoutError(f"{method} {path}: the sidecar did not come back")

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """Returns the JSON of a call; exits if it fails."""
        status, answer = self.call(method, path, body)
        if status >= 300:
            sys.exit(f"{method} {path}: {status} {answer}")
        return answer

    def do_context(self) -> None:
        context = self.must("GET", f"/context/{self._issue}/{self._type}")
        print(f"context: {len(context['context']['relevant_files'])} files", flush=True)

    def do_result(self, status: str = "success", **work: Any) -> None:
        body = {"agent_type": self._type, "issue_id": self._issue, "result": {"status": status, **work}}
        stored = self.must("POST", "/results", body)
        print(f"result: {stored['id']} next: {[each['agent_type'] for each in stored['next_agents']]}", flush=True)

    def do_event(self, type: str, topic: str = "coordination", data: dict[str, Any] | None = None) -> None:
        body = {"topic": topic, "publisher": self._id, "data": {"issue_id": self._issue, **(data or {})}}
        print(f"event: {self.must('POST', f'/events/{type}', body)['event_id']}", flush=True)

    def do_wait(self, type: str, filter: str = "", timeout: int = 30_000) -> None:
        query = f"?timeout={timeout}&since=0" + (f"&filter={filter}" if filter else "")
        if not self.must("GET", f"/events/wait/{type}{query}")["events"]:
            sys.exit(3)

    def do_heartbeat(self, **body: Any) -> None:
        self.must("POST", f"/agents/{self._id}/heartbeat", body)

    def do_ask(self, question: str) -> None:
        approval = self.must("POST", "/approvals", {"question": question})
        while approval["status"] == "pending":
            answered = f"/events/wait/approval_answered?since=0&filter=approval_id:{approval['approval_id']}"
            self.must("GET", answered)
            approval = self.must("GET", f"/approvals/{approval['approval_id']}")
        print(f"{approval['status']}: {approval['comment']}", flush=True)
        if approval["status"] == "denied":
            sys.exit(4)

    def do_call(self, method: str, path: str, body: Any = None, expect: int = 200) -> None:
        status, answer = self.call(method, path, body)
        print(json.dumps([status, answer])[:2000], flush=True)
        if status != expect:
            sys.exit(5)

    def do_report(
        self, result: str, cost: float = 0.01, turns: int = 1, input: int = 10, output: int = 5, is_error: bool = False
    ) -> None:
        session = os.environ.get("AGENT_SESSION", "11111111-2222-4333-8444-555555555555")
        usage = {"input_tokens": input, "output_tokens": output, "cache_read_input_tokens": 3}
        lines: list[dict[str, Any]] = [
            {"type": "system", "subtype": "init", "session_id": session, "model": "scripted", "tools": []},
            {
                "type": "result",
                "subtype": "error_during_execution" if is_error else "success",
                "is_error": is_error,
                "duration_ms": 1200,
                "duration_api_ms": 800,
                "num_turns": turns,
                "result": result,
                "session_id": session,
                "total_cost_usd": cost,
                "usage": usage,
            },
        ]
        for line in lines:
            print(json.dumps(line), flush=True)

    def do_print(self, text: str, stream: str = "stdout", times: int = 1) -> None:
        target = sys.stderr if stream == "stderr" else sys.stdout
        for _ in range(times):
            print(text, file=target, flush=True)

    def do_env(self, name: str) -> None:
        print(f"{name}={os.environ.get(name)}", flush=True)

    def do_write(self, path: str, text: str) -> None:
        with open(path, "w") as file:
            file.write(text)

    def do_run(self, command: list[str]) -> None:
        subprocess.run(command, check=True)

    def do_start(self, command: list[str], detached: bool = False) -> None:
        self._kept.append(subprocess.Popen(command, start_new_session=detached))

    def do_until(self, path: str) -> None:
        while not os.path.exists(path):
            time.sleep(_PAUSE_SECONDS)

    def do_repeat(self, steps: list[dict[str, Any]], until: str) -> None:
        while not os.path.exists(until):
            self.run(steps)
            time.sleep(_PAUSE_SECONDS)

    def do_sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def do_ignore(self, signal: str) -> None:
        _ignore(signal)

    def do_allocate(self, mb: int) -> None:
        self._kept.append(bytearray(os.urandom(1024) * 1024 * mb))

    def do_open(self, count: int) -> None:
        self._kept += [open(os.devnull) for _ in range(count)]

    def do_kill(self, signal: str) -> None:
        os.kill(os.getpid(), _number(signal))

    def do_exit(self, code: int = 0) -> None:
        sys.exit(code)


def _number(name: str) -> signal.Signals:
    return signal.Signals[name]


def _ignore(name: str) -> None:
    signal.signal(_number(name), signal.SIG_IGN)


if __name__ == "__main__":
    script = os.environ.get("TASK_SCRIPT")
    Agent().run(json.loads(script) if script else CYCLE)
