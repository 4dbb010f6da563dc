"""The end of an attempt, when judging it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from cco_sidecar.core.clock import Clock
from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.run import Exit, Run
from cco_sidecar.supervision import attempts, life
from cco_sidecar.supervision.active import ActiveAgent, Attempt
from cco_sidecar.supervision.attempts import Attempts
from cco_sidecar.supervision.leases import Lease
from cco_sidecar.supervision.monitor import Monitor
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_FAILED, Agent, SpawnAgentRequest


class EndedRun(Run):
    async def ended(self) -> Exit:
        return Exit(exit_code=1)


class NoLeases:
    async def end(self, lease: Lease, agent_id: str) -> None:
        lease.revoked = True


async def test_an_exit_that_cannot_be_judged_ends_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a secret of the program")

    monkeypatch.setattr(attempts, "outcome", broken)
    running = life.Life(life.Phase.RUNNING, attempt=1, max_attempts=9)
    active = ActiveAgent(1, Agent(agent_id="a"), SpawnAgentRequest(), Runner(), running)
    active.attempt = Attempt(EndedRun(tmp_path), Monitor(stuck_after=0))
    exited = await Attempts(None, NoLeases(), Clock()).watch(active)  # type: ignore[arg-type]
    assert exited == life.Exited(AGENT_STATUS_FAILED, "internal error: ValueError", retryable=False)
    assert life.step(running, exited)[1] == (life.Effect.FINISH,)
    assert active.attempt.exit == Exit(exit_code=1) and active.lease.revoked
