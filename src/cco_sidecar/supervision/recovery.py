"""Recovers the agents of an earlier sidecar after a restart, by pid and start time, or from what their shims wrote."""

from __future__ import annotations

import asyncio

from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.runners.launch import Launcher
from cco_sidecar.runners.presets import Runner
from cco_sidecar.runners.run import Run
from cco_sidecar.storage.base import StoredAgent, Stores
from cco_sidecar.supervision import life
from cco_sidecar.supervision.active import ActiveAgent, Attempt
from cco_sidecar.supervision.attempts import Attempts, watch_attempt
from cco_sidecar.supervision.leases import Leases
from cco_sidecar.supervision.life import Phase
from cco_sidecar.supervision.monitor import Monitor
from cco_sidecar.supervision.records import clear_attempt
from cco_sidecar.supervision.supervisor import Supervisor
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_PENDING
from orchestra.v1.approval_service_pb2 import APPROVAL_STATUS_PENDING


class Recovery:
    """Takes over the agents that had not ended when the last sidecar did."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        attempts: Attempts,
        stores: Stores,
        launcher: Launcher,
        leases: Leases,
        clock: Clock,
    ) -> None:
        self._supervisor = supervisor
        self._attempts = attempts
        self._stores = stores
        self._launcher = launcher
        self._leases = leases
        self._clock = clock

    async def run(self) -> None:
        """Watches the agents that run, records how the others ended, and queues the rest.

        Runs before the transports open, so that the token of a running agent is valid for the first call. Raises
        SidecarError.
        """
        for stored in await self._stores.agents.unfinished():
            await self._recover(stored)
        await asyncio.to_thread(self._launcher.clean_up, set(self._supervisor.active))

    async def _recover(self, stored: StoredAgent) -> None:
        record = stored.agent
        pending = record.status == AGENT_STATUS_PENDING
        # The record of an agent that was being started does not name the attempt yet.
        run = self._launcher.run_at(record, record.attempt + 1) if pending else self._launcher.run_of(record)
        runs = run.adopt()
        recovered, effects = life.recovered(
            record.status,
            record.reason,
            record.attempt,
            record.max_attempts,
            # A start that was interrupted before there was a shim is repeated. With a shim the attempt may have begun,
            # and it must not begin twice.
            began=run.began_at is not None,
            backing_off=record.HasField("retry_at"),
        )
        active = ActiveAgent(stored.number, record, stored.request, self._runner(stored), recovered)
        if recovered.phase is Phase.RUNNING:
            await self._recover_run(active, run, runs=runs, starting=pending)
        else:
            if run.directory.exists():
                await asyncio.to_thread(run.kill_leftovers)
            await self._attempts.read_earlier(active, record.attempt)
            # The earlier sidecar may have ended before it did.
            await asyncio.to_thread(self._launcher.clean_attempts, record)
        self._supervisor.adopt(active, effects)
        # The record may be older than the agent's open questions.
        await self._supervisor.observe(active)

    def _runner(self, stored: StoredAgent) -> Runner:
        try:
            return self._supervisor.runner_of(stored.request)
        except SidecarError:
            # The type or preset is no longer configured; the agent is watched all the same.
            return Runner()

    async def _recover_run(self, active: ActiveAgent, run: Run, *, runs: bool, starting: bool) -> None:
        record = active.record
        self._leases.recover(active.lease, record, run, runs=runs)
        if starting:
            self._write_start(active, run, runs=runs)
        # The agent may have stored a result just before a crash that the record does not name yet.
        record.result_id = await self._stores.results.newest_of(active.lease.session) or record.result_id
        active.attempt = Attempt(run, await self._monitor(active))
        await self._attempts.read_earlier(active, active.life.attempt - 1)
        now = self._clock.seconds()
        watch_attempt(active, active.attempt, spent=max(0.0, now - (run.began_at or now)))

    def _write_start(self, active: ActiveAgent, run: Run, *, runs: bool) -> None:
        record = active.record
        clear_attempt(record)
        record.attempt = active.life.attempt
        if runs:
            record.process_id = run.agent_pid
        # Not the current time: questions asked since then are still open.
        began = min(self._clock.seconds(), run.began_at or self._clock.seconds())
        record.started_at.CopyFrom(timestamp(int(began * 1e6)))

    async def _monitor(self, active: ActiveAgent) -> Monitor:
        """Returns a monitor with the open questions of this run; questions of an earlier attempt do not count."""
        record = active.record
        monitor = Monitor(stuck_after=active.runner.stuck_after_seconds or 0)
        for stored in await self._stores.approvals.page(record.project_id, status=APPROVAL_STATUS_PENDING, limit=1000):
            asked = stored.approval
            if asked.requested_by == record.agent_id and micros_of(asked.created_at) >= micros_of(record.started_at):
                monitor.questions[asked.approval_id] = asked.question
        # If questions are open, they explain the status; the agent did not report it itself.
        monitor.needs_input = record.status == AGENT_STATUS_NEEDS_INPUT and not monitor.questions
        return monitor
