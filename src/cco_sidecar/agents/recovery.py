"""After a restart: the agents of an earlier sidecar are found again, by pid and start time, or by what their keepers
wrote down."""

from __future__ import annotations

import asyncio
import time

from cco_sidecar.agents import logs
from cco_sidecar.agents.announce import Announcer
from cco_sidecar.agents.identity import Identities
from cco_sidecar.agents.launch import Launcher, resumes
from cco_sidecar.agents.live import ENDED, Live
from cco_sidecar.agents.runners import Runner
from cco_sidecar.agents.supervisor import Supervisor, begin_attempt
from cco_sidecar.agents.usage import UsageReader
from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.base import AgentStore, ApprovalStore, ResultStore, StoredAgent
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_NEEDS_INPUT, AGENT_STATUS_PENDING, AGENT_STATUS_RUNNING
from orchestra.v1.approval_service_pb2 import APPROVAL_STATUS_PENDING


class Recovery:
    def __init__(
        self,
        supervisor: Supervisor,
        store: AgentStore,
        results: ResultStore,
        approvals: ApprovalStore,
        announcer: Announcer,
        launcher: Launcher,
        identities: Identities,
        clock: Clock,
    ) -> None:
        self._supervisor = supervisor
        self._store = store
        self._results = results
        self._approvals = approvals
        self._announcer = announcer
        self._launcher = launcher
        self._identities = identities
        self._clock = clock

    async def run(self) -> None:
        """Watches those that run, says how the others ended, queues the rest. Raises SidecarError."""
        for stored in await self._store.unfinished():
            if stored.agent.status in ENDED:
                await self._announcer.make_good(stored.agent, stored.unannounced)
            else:
                await self._recover(stored)
        await asyncio.to_thread(self._launcher.clean_up, set(self._supervisor.live))

    async def _recover(self, stored: StoredAgent) -> None:
        agent = stored.agent
        live = Live(stored.number, agent, stored.request, self._runner(stored))
        live.needs_input = agent.status == AGENT_STATUS_NEEDS_INPUT
        pending = agent.status == AGENT_STATUS_PENDING
        # One that was just being started: its record does not know yet.
        run = self._launcher.run_at(agent, agent.attempt + 1) if pending else self._launcher.run_of(agent)
        runs = run.adopt()
        if pending and run.began_at is None:
            # It waits, or its start was cut short before there was a keeper. One that had a keeper may have begun, and
            # is not begun twice.
            if run.directory.exists():
                await asyncio.to_thread(run.kill_leftovers)
            await asyncio.to_thread(self._launcher.read_attempts, live, agent.attempt)
            self._supervisor.wait(live)
            return
        live.run = run
        live.heard = time.monotonic()
        live.set_deadline(max(0.0, self._clock.seconds() - (run.began_at or self._clock.seconds())))
        if run.began_at is None:
            # A restored copy: the agent may still run where the copy was made.
            agent.max_attempts = agent.attempt
        # Before the doors open.
        self._identities.find(live, runs=runs)
        if pending:
            await self._write_start(live, runs=runs)
        elif stored.unannounced:
            await self._announcer.make_good(agent, stored.unannounced)
        # One that it stored just before a crash: its record may not know.
        agent.result_id = await self._results.newest_of(live.session) or agent.result_id
        await self._find_questions(live)
        await asyncio.to_thread(self._launcher.read_attempts, live, agent.attempt - 1)
        if resumes(live.runner, agent):
            live.usage = UsageReader(agent.usage.session_id)
        live.reader = logs.LogReader(run.output)
        self._supervisor.watch(live)

    def _runner(self, stored: StoredAgent) -> Runner:
        try:
            return self._supervisor.runner_of(stored.request)
        except SidecarError:
            # Its type or preset is no longer configured; it is watched all the same.
            return Runner()

    async def _write_start(self, live: Live, *, runs: bool) -> None:
        agent = live.agent
        assert live.run is not None
        begin_attempt(agent)
        if runs:
            agent.process_id = live.run.agent_pid
        # Not now: what it has asked since is still to be answered.
        began = min(self._clock.seconds(), live.run.began_at or self._clock.seconds())
        agent.started_at.CopyFrom(timestamp(int(began * 1e6)))
        self._supervisor.set_status(agent, AGENT_STATUS_RUNNING, f"attempt {agent.attempt}")
        await self._announcer.save(agent, "agent_spawned")

    async def _find_questions(self, live: Live) -> None:
        """What this run asked and was not answered yet; what an earlier attempt asked it does not wait for."""
        agent = live.agent
        for stored in await self._approvals.page(agent.project_id, status=APPROVAL_STATUS_PENDING, limit=1000):
            asked = stored.approval
            if asked.requested_by == agent.agent_id and micros_of(asked.created_at) >= micros_of(agent.started_at):
                live.questions.add(asked.approval_id)
        # Waiting for an answer, it did not say itself that it does.
        live.needs_input = live.needs_input and not live.questions
