"""Recovers the agents of an earlier sidecar after a restart, by pid and start time, or from what their shims wrote."""

from __future__ import annotations

import asyncio
import logging

from cco_sidecar.cluster.base import Cluster
from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError, unavailable
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
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_PENDING, Agent
from orchestra.v1.approval_service_pb2 import APPROVAL_STATUS_PENDING

log = logging.getLogger(__name__)


class Recovery:
    """Takes over the agents that had not ended when the last sidecar did."""

    def __init__(
        self,
        supervisor: Supervisor,
        attempts: Attempts,
        stores: Stores,
        launcher: Launcher,
        leases: Leases,
        clock: Clock,
        cluster: Cluster,
    ) -> None:
        self._supervisor = supervisor
        self._attempts = attempts
        self._stores = stores
        self._launcher = launcher
        self._leases = leases
        self._clock = clock
        self._cluster = cluster
        # Agents that are being taken over, and from whom.
        self._moved: dict[str, str] = {}

    async def run(self) -> None:
        """Watches the agents that run, records how the others ended, and queues the rest.

        Runs before the transports open, so that the token of a running agent is valid for the first call. Raises
        SidecarError.
        """
        own = self._cluster.sidecar_id if self._cluster.shared else None
        for stored in await self._stores.agents.unfinished(own):
            if await self._is_ours(stored.agent):
                await self._recover(stored)
        await asyncio.to_thread(self._launcher.clean_up, set(self._supervisor.active))

    async def take_over(self, sidecar_id: str) -> None:
        """Takes over the agents of a sidecar that is lost, whose processes have ended by now: those that ran are
        retried here or have failed, the others start here. Raises SidecarError."""
        for agent_id, former in list(self._moved.items()):
            # An earlier attempt failed after it was moved here.
            moved = await self._stores.agents.by_id(agent_id)
            if moved is not None and moved.agent.sidecar_id == self._cluster.sidecar_id:
                await self._continue(moved, former)
        for stored in await self._stores.agents.unfinished(sidecar_id):
            agent = stored.agent
            self._moved[agent.agent_id] = sidecar_id
            if not await self._is_ours(agent):
                raise unavailable("CLU_003", f"agent '{agent.agent_id}' of sidecar {sidecar_id} is still being changed")
            await self._continue(stored, sidecar_id)

    async def _continue(self, stored: StoredAgent, former: str) -> None:
        agent_id = stored.agent.agent_id
        if agent_id not in self._supervisor.active and stored.agent.status not in life.ENDED_STATUSES:
            log.warning("taking over agent %s of sidecar %s", agent_id, former)
            await self._recover(stored, lost=f"the sidecar {former}, which ran it, was lost")
        self._moved.pop(agent_id, None)

    async def _is_ours(self, agent: Agent) -> bool:
        """Makes this sidecar the one that runs an agent. Returns False if it has changed since it was read."""
        before = Agent()
        before.CopyFrom(agent)
        agent.sidecar_id = self._cluster.sidecar_id
        return before.sidecar_id == agent.sidecar_id or await self._stores.agents.move(agent, before)

    async def _recover(self, stored: StoredAgent, lost: str = "") -> None:
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
            began=run.began_at is not None or bool(lost and not pending),
            backing_off=record.HasField("retry_at"),
        )
        active = ActiveAgent(stored.number, record, stored.request, self._runner(stored), recovered)
        if recovered.phase is Phase.RUNNING:
            await self._recover_run(active, run, runs=runs, starting=pending)
            if lost and active.attempt is not None:
                active.attempt.monitor.ended_for = lost
                record.ClearField("process_id")
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
