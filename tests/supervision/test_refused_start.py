"""A runner that refuses to start an agent: it is as if the agent had never left the queue. The test is the runner."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest
import requests
from tests.support.runners import agent, token_for, usable
from tests.support.sidecars import call, until

from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.runner_service_pb2_grpc import RunnerServiceStub


class Scripted:
    """A connected runner, which does what the test says."""

    def __init__(self, sidecar: SidecarProcess, name: str) -> None:
        self.name = name
        self._channel = grpc.insecure_channel(sidecar.target)
        self._stub = RunnerServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token_for(sidecar, name)}"),)
        self._who = {"runner_id": name, "instance": secrets.token_hex(8)}
        self._who["sidecar_id"] = (sidecar.storage / "sidecar-id").read_text().strip()
        offer = pb.Runner(runner_id=name, capacity=5)
        request = pb.AttendRunnerRequest(**self._who, runner=offer)
        self._orders = self._stub.AttendRunner(request, metadata=self._metadata, timeout=60)
        assert next(self._orders).HasField("welcome")
        self.report()
        until(lambda: usable(sidecar, name), "the connection")

    def report(self, **what: Any) -> None:
        self._stub.ReportRunner(pb.ReportRunnerRequest(**self._who, **what), metadata=self._metadata, timeout=10)

    def order(self, kind: str) -> pb.AttendRunnerResponse:
        """Returns the next order, which is of that kind."""
        found: pb.AttendRunnerResponse = next(self._orders)
        assert found.WhichOneof("order") == kind, found
        return found

    def close(self) -> None:
        self._orders.cancel()
        self._channel.close()


@pytest.fixture
def runner(sidecar: SidecarProcess) -> Iterator[Scripted]:
    made = Scripted(sidecar, f"scripted-{secrets.token_hex(4)}")
    yield made
    made.report(leaving=True)
    made.close()


def test_an_agent_that_was_refused_waits_in_the_queue_as_before(sidecar: SidecarProcess, runner: Scripted) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "runner_tags": [runner.name]}
    with ThreadPoolExecutor() as pool:
        spawning = pool.submit(call, sidecar, "POST", "/api/agents/spawn", json=body)
        first = runner.order("launch")
        run = sidecar.storage / "agents" / first.agent_id / "1"
        assert run.is_dir() and works(sidecar, first.launch.jwt_token)
        runner.report(answers=[refusal(first)])
        spawned = spawning.result(30)
    # Whoever asked for the agent does not wait any longer.
    assert (spawned["spawned"], spawned["status"], spawned["queue_position"]) == (False, "pending", 1)
    assert not spawned["jwt_token"] and not works(sidecar, first.launch.jwt_token)
    assert not run.exists()
    listed = call(sidecar, "GET", "/api/agents?issue_id=i")
    assert (listed["running"], listed["queued"]) == (0, 1)
    waiting = agent(sidecar, first.agent_id)
    assert (waiting["attempt"], waiting["runner_id"], waiting["status"]) == (0, "", "pending")
    assert runner.order("forget").agent_id == first.agent_id
    # With a free slot, it starts as if nothing had been.
    runner.report()
    second = runner.order("launch")
    assert (second.agent_id, second.attempt) == (first.agent_id, 1)
    assert works(sidecar, second.launch.jwt_token)
    known = pb.RunAtRunner(agent_id=second.agent_id, attempt=1)
    runner.report(answers=[pb.RunnerAnswer(order_id=second.order_id, process_id=4711)], runs=[known])
    until(lambda: agent(sidecar, first.agent_id)["status"] == "running", "the start")
    known.end.CopyFrom(pb.RunEnd(known=True, exit_code=0))
    runner.report(runs=[known])
    until(lambda: agent(sidecar, first.agent_id)["status"] == "completed", "the end")


def test_an_agent_that_was_refused_can_be_stopped(sidecar: SidecarProcess, runner: Scripted) -> None:
    body = {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"], "runner_tags": [runner.name]}
    with ThreadPoolExecutor() as pool:
        post = partial(sidecar.request, "POST", "/api/agents/spawn", sidecar.operator, json=body)
        spawning = pool.submit(post)
        order = runner.order("launch")
        stopping = pool.submit(call, sidecar, "DELETE", f"/api/agents/{order.agent_id}")
        # The stop is told, because the attempt may have begun.
        assert runner.order("stop").agent_id == order.agent_id
        runner.report(answers=[refusal(order)])
        assert stopping.result(30)["status"] == "stopped"
        answer = spawning.result(30)
    assert answer.status_code == 409 and "was stopped before it started" in answer.json()["message"]
    assert not works(sidecar, order.launch.jwt_token)


def refusal(order: pb.AttendRunnerResponse) -> pb.RunnerAnswer:
    return pb.RunnerAnswer(order_id=order.order_id, error_code="RUN_006", error_message="all 5 slots are taken")


def works(sidecar: SidecarProcess, token: str) -> bool:
    answer = requests.get(f"{sidecar.url}/api/events", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200
