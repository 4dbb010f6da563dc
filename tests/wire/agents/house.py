"""A sidecar whose every door is tried."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.support.doors import Answer, Door, Doors
from tests.support.sidecars import until
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
BOTH = pytest.mark.parametrize("door", ["grpc", "rest"])


class House:
    """A sidecar's doors, and its operator."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar = sidecar
        self.doors = Doors(sidecar)
        self.operator = sidecar.operator
        self._spawned: list[str] = []

    def door(self, rpc: str, name: str) -> Door:
        """`grpc`, or the first of the HTTP lines."""
        return self.doors.grpc(rpc) if name == "grpc" else self.doors.rest(rpc)[0]

    def ask(self, rpc: str, /, **request: Any) -> Any:
        return self.doors.ask(rpc, self.operator, **request)

    def spawn(self, door: str = "grpc", **request: Any) -> dict[str, Any]:
        """An agent that sleeps, when nothing else is asked for; it is stopped at the end of the test."""
        wanted = {"agent_type": "go-specialist", "issue_id": "issue-1", "project_id": PROJECT} | request
        answer = self.door("SpawnAgent", door).call(wanted, self.operator)
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
    """The one body that every door gave."""
    assert all(answer.status in ("OK", 200, 201) for answer in answers), answers
    bodies = [answer.body for answer in answers]
    assert all(body == bodies[0] for body in bodies), bodies
    return bodies[0]


def refused(house: House, rpc: str, request: dict[str, Any], status: int, code: str) -> str:
    """Through every door the same error; its message."""
    messages = set()
    for door in house.doors.of(rpc):
        if not door.fits(request):
            continue
        answer = door.call(request, house.operator)
        assert (answer.status, answer.code) == (door.status(status), code), (door.name, answer)
        if door.name != "grpc":
            assert_shape(answer.body, shapes.ERROR)
        messages.add(answer.message)
    (message,) = messages
    return message
