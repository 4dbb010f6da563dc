"""What a runner makes of the orders of a sidecar, without a connection."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from cco_sidecar.core.errors import unavailable
from cco_sidecar.joined.attempts import Attempt, SidecarAttempts
from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.run import Run
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent


class Bench:
    """A runner whose launcher notes what it would start."""

    sandbox = SimpleNamespace(require=lambda: None)
    worktrees = SimpleNamespace(there_are=list)
    lease_seconds = 60

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.full = False
        self.started: list[str] = []
        launcher: Any = self
        self.attempts = SidecarAttempts(
            *(launcher, directory, "sidecar"),
            read_commits=self._read_commits,
            is_busy=lambda agent_id: False,
            require_slot=self._require_slot,
        )
        self.attempts.leased.set()

    def run_of(self, agent: Agent) -> Run:
        return Run(self._directory / "agents" / agent.agent_id / str(agent.attempt))

    async def spawn(self, agent: Agent, request: Any, runner: Runner, run: Run, token: str, **more: Any) -> int:
        self.started.append(token)
        return 4711

    async def _read_commits(self, *_: Any) -> bytes:
        return b""

    def _require_slot(self) -> None:
        if self.full:
            raise unavailable("RUN_006", "all 1 slots are taken")

    def order(self, order_id: str) -> pb.AttendRunnerResponse:
        launch = pb.LaunchRun(
            agent=Agent(agent_id="a", attempt=1),
            preset=orjson.dumps(asdict(Runner())),
            jwt_token=f"token of {order_id}",
        )
        return pb.AttendRunnerResponse(order_id=order_id, agent_id="a", attempt=1, launch=launch)

    async def answers(self, count: int) -> list[tuple[str, str]]:
        """The answers in the next report, once there are so many."""
        request = pb.ReportRunnerRequest()
        async with asyncio.timeout(10):
            while len(request.answers) < count:
                request = pb.ReportRunnerRequest()
                await self.attempts.news.wait()
                self.attempts.news.clear()
                self.attempts.report(request, 0)
        return [(each.order_id, each.error_code) for each in request.answers]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_an_order_that_was_refused_is_not_carried_out_when_it_comes_again(bench: Bench) -> None:
    """Another order for the same attempt would get its process, with a token that is not valid any more."""
    bench.full = True
    bench.attempts.take(bench.order("first"))
    assert await bench.answers(1) == [("first", "RUN_006")]
    bench.full = False
    bench.attempts.take(bench.order("first"))
    bench.attempts.take(bench.order("second"))
    assert await bench.answers(2) == [("first", "RUN_006"), ("second", "")]
    assert bench.started == ["token of second"]


async def test_an_answer_is_repeated_until_it_has_arrived(bench: Bench) -> None:
    bench.attempts.take(bench.order("first"))
    assert await bench.answers(1) == [("first", "")]
    request = pb.ReportRunnerRequest()
    bench.attempts.report(request, 0)
    assert len(request.answers) == 1
    bench.attempts.reported(request, pb.ReportRunnerResponse())
    later = pb.ReportRunnerRequest()
    bench.attempts.report(later, 0)
    assert len(later.answers) == 0


async def test_attempts_may_come_while_a_thread_looks_for_news(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def size(attempt: Attempt) -> int:
        bench.attempts._hold(Attempt((f"another {len(bench.attempts._attempts)}", 1), attempt.run))
        return 0

    bench.attempts.take(bench.order("first"))
    assert await bench.answers(1) == [("first", "")]
    request = pb.ReportRunnerRequest()
    bench.attempts.report(request, 0)
    bench.attempts.reported(request, pb.ReportRunnerResponse())
    bench.attempts._hold(Attempt(("b", 1), bench.run_of(Agent(agent_id="b", attempt=1))))
    monkeypatch.setattr(Attempt, "size", property(size))
    assert not bench.attempts.has_news
    bench.attempts.report(pb.ReportRunnerRequest(), 0)
