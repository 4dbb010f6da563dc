"""A sidecar that is tried over every transport."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.support.sidecars import until
from tests.support.transports import Answer, Transport, Transports
from tests.wire import shapes
from tests.wire.shapes import assert_shape

from cco_sidecar.core.agent_status import ENDED
from cco_sidecar.testing.agents import SCRIPTED_AGENT, scripted_command
from cco_sidecar.testing.process import SidecarProcess

PROJECT = "project-golden"
RUNNERS = {
    "default": {"command": ["sleep", "600"]},
    # Prints JSON lines about its work, as `claude -p --output-format stream-json` does.
    "rust-specialist": {"command": [sys.executable, str(SCRIPTED_AGENT)], "output": "stream-json"},
}
BOTH = pytest.mark.parametrize("transport", ["grpc", "rest"])


class Deployment:
    """A sidecar's transports, and its operator."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.transports = Transports(sidecar)
        self.operator = sidecar.operator
        self._spawned: list[str] = []

    def transport(self, rpc: str, name: str) -> Transport:
        """`grpc`, or the first of the HTTP bindings."""
        return self.transports.grpc(rpc) if name == "grpc" else self.transports.rest(rpc)[0]

    def ask(self, rpc: str, /, **request: Any) -> Any:
        return self.transports.ask(rpc, self.operator, **request)

    def spawn(self, transport: str = "grpc", **request: Any) -> dict[str, Any]:
        """An agent that sleeps by default; it is stopped at the end of the test."""
        wanted = {"agent_type": "go-specialist", "issue_id": "issue-1", "project_id": PROJECT} | request
        answer = self.transport("SpawnAgent", transport).call(wanted, self.operator)
        assert answer.status in ("OK", 201), answer
        body: dict[str, Any] = answer.body
        self._spawned.append(body["agent_id"])
        return body

    def scripted(self, *steps: dict[str, Any], **request: Any) -> dict[str, Any]:
        environment = {"TASK_SCRIPT": json.dumps(steps)} | request.pop("environment", {})
        return self.spawn(command=scripted_command(), environment=environment, **request)

    def wait(self, agent_id: str, *statuses: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            agent: dict[str, Any] = self.ask("GetAgent", agent_id=agent_id)
            return agent if agent["status"] in (statuses or ENDED) else {}

        return until(look, f"{agent_id} to be {' or '.join(statuses or ENDED)}")

    def logs(self, agent_id: str) -> list[str]:
        parts = self.ask("StreamAgentLogs", agent_id=agent_id)
        return [line["text"] for part in parts for line in part["lines"]]

    def clean(self) -> None:
        for agent_id in self._spawned:
            self.ask("StopAgent", agent_id=agent_id, force=True)
        self._spawned.clear()


def same(answers: list[Answer]) -> Any:
    """The body that every transport returned, which must be the same."""
    assert all(answer.status in ("OK", 200, 201) for answer in answers), answers
    bodies = [answer.body for answer in answers]
    assert all(body == bodies[0] for body in bodies), bodies
    return bodies[0]


def refused(deployment: Deployment, rpc: str, request: dict[str, Any], status: int, code: str) -> str:
    """Asserts the same error over every transport; returns its message."""
    messages = set()
    for transport in deployment.transports.of(rpc):
        if not transport.fits(request):
            continue
        answer = transport.call(request, deployment.operator)
        assert (answer.status, answer.code) == (transport.status(status), code), (transport.name, answer)
        if transport.name != "grpc":
            assert_shape(answer.body, shapes.ERROR)
        messages.add(answer.message)
    (message,) = messages
    return message
