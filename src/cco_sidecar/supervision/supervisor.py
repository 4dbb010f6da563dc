"""Runs the lifecycle of agents: feeds the state machine and executes its effects."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from cco_sidecar.core import announcements
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.background import Background, all_succeed
from cco_sidecar.core.clock import Clock, micros_of
from cco_sidecar.core.errors import OutcomeUnknown, SidecarError, conflict, unavailable
from cco_sidecar.runners.launch import GRACE_SECONDS
from cco_sidecar.runners.presets import Runner, Runners
from cco_sidecar.storage.base import AgentStore
from cco_sidecar.supervision import life
from cco_sidecar.supervision.active import ActiveAgent
from cco_sidecar.supervision.attempts import Attempts
from cco_sidecar.supervision.life import ENDED_STATUSES, Effect, Life, Phase
from cco_sidecar.supervision.placement import Placement
from cco_sidecar.supervision.queue import StartQueue
from cco_sidecar.supervision.records import Records
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_STUCK,
    Agent,
    SendHeartbeatRequest,
    SpawnAgentRequest,
)

log = logging.getLogger(__name__)

Save = Callable[[ActiveAgent, Any], Awaitable[None]]


class Supervisor:
    """Supervises all agents of the sidecar. ``active``: agents that have not ended, by id. Not thread-safe."""

    def __init__(
        self,
        store: AgentStore,
        *,
        records: Records,
        attempts: Attempts,
        runners: Runners,
        types: AgentTypes,
        clock: Clock,
        placement: Placement,
        sidecar_id: str = "",
    ) -> None:
        """``sidecar_id``: who runs them."""
        self._store = store
        self._records = records
        self._attempts = attempts
        self._runners, self.sidecar_id = runners, sidecar_id
        self._types, self._clock, self.placement = types, clock, placement
        self.active: dict[str, ActiveAgent] = {}
        self._queue = StartQueue()
        # Ids of the agents that have a slot.
        self._running: set[str] = set()
        # Ids of ended agents that are being resumed.
        self._resuming: set[str] = set()
        self._background = Background()
        self._open = self._closing = False

    # -- startup and shutdown ----------------------------------------------------------------------------

    def start(self) -> None:
        """Starts queued agents, from now on."""
        self._open = True
        self.admit()

    def admit(self) -> None:
        """Starts the queued agents that there is a free slot for."""
        while self._queue and self._open and not self._closing:
            here = sum(not self.active[each].record.runner_id for each in self._running if each in self.active)
            found = self.placement.next((self.active[each] for each in self._queue.in_order()), here)
            if found is None:
                return
            active, place = found
            self._queue.remove(active.agent_id)
            self._running.add(active.agent_id)
            self._records.set_place(active, place)
            self._feed(active, life.Admitted())

    def adopt(self, active: ActiveAgent, effects: Iterable[Effect]) -> None:
        """Takes over an agent of an earlier sidecar. ``effects``: those of its recovered life."""
        self.active[active.agent_id] = active
        if active.life.phase is Phase.RUNNING:
            self._running.add(active.agent_id)
            active.set_begun()
        self._records.write_life(active)
        self._carry_out(active, effects)

    async def close(self, *, keep_agents: bool) -> bool:
        """Stops the running agents, or leaves them to the next sidecar. Returns whether all it stopped have ended."""
        self._closing = True
        self._records.close()
        # Not those whose attempt has just failed: they keep the attempts that they have left.
        running = [each for each in self.active.values() if each.life.phase in (Phase.STARTING, Phase.RUNNING)]
        grace, stopped = GRACE_SECONDS / 2, [] if keep_agents else running
        # One at a runner that is away cannot be waited for: its lease ends by itself.
        stops = (self.stop(each, "the sidecar was stopped", grace=grace) for each in stopped)
        over = await all_succeed(stops, 2 * GRACE_SECONDS)
        for active in self.active.values():
            self._cancel_retry(active)
        # Wait until agents that are being started have a shim. One at a runner is found by the next sidecar.
        await asyncio.gather(*(each.begun for each in running if not each.record.runner_id), return_exceptions=True)
        await self._background.end()
        return over

    # -- operations ----------------------------------------------------------------------------------------

    async def spawn(self, agent: Agent, request: SpawnAgentRequest) -> ActiveAgent | None:
        """Stores an agent, queues it, and starts it once a slot is free. Returns None if its cause already has one.

        Runs to completion even if the caller is cancelled. Raises SidecarError.
        """
        return await self._background.finish(self._spawn(agent, request))

    async def _spawn(self, agent: Agent, request: SpawnAgentRequest) -> ActiveAgent | None:
        runner = self.runner_of(request)
        self._records.spans.begin(agent)
        new = Life(reason=agent.reason, max_attempts=agent.max_attempts)
        try:
            number = await self._store.add(agent, request, created=self._clock.micros())
        except OutcomeUnknown:
            self._background.start(self._records.withdraw(agent), f"withdrawing {agent.agent_id}")
            raise
        if not number:
            return None
        active = self.active[agent.agent_id] = ActiveAgent(number, agent, request, runner, new)
        self._carry_out(active, (Effect.ENQUEUE,))
        return active

    async def resume(self, ended: Agent, message: str, reason: str) -> ActiveAgent:
        """Starts an ended agent again.

        Runs to completion even if the caller is cancelled. Raises SidecarError: AGT_005 if the agent was started by
        another caller since ``ended`` was read.
        """
        agent_id = ended.agent_id
        if agent_id in self.active or agent_id in self._resuming:
            raise not_ended(agent_id)
        # Before the first await, so that a concurrent caller sees it.
        self._resuming.add(agent_id)
        return await self._background.finish(self._resume(ended, message, reason))

    async def _resume(self, ended: Agent, message: str, reason: str) -> ActiveAgent:
        agent_id = ended.agent_id
        try:
            # The agent may have been started, and have ended, since the caller read it.
            stored = await self._store.by_id(agent_id)
            if stored is None or stored.agent.attempt != ended.attempt or stored.agent.status not in ENDED_STATUSES:
                raise not_ended(agent_id)
            agent, before = stored.agent, Agent()
            before.CopyFrom(agent)
            was = Life(Phase.ENDED, agent.status, agent.reason, agent.attempt, agent.max_attempts)
            resumed, effects = life.step(was, life.Resumed(reason))
            active = ActiveAgent(stored.number, agent, stored.request, self.runner_of(stored.request), resumed)
            self.active[agent_id] = active
        finally:
            self._resuming.discard(agent_id)
        agent.message = message
        self._records.spans.begin(agent)
        async with active.in_order:
            await self._attempts.read_earlier(active, agent.attempt)
            for name in ("ended_at", "exit_code", "signal", "process_id", "retry_at"):
                agent.ClearField(name)
            self._records.write_life(active)
            agent.sidecar_id = self.sidecar_id
            try:
                # It may have run at a sidecar that is gone.
                if not await self._store.move(agent, before):
                    raise not_ended(agent_id)
            except SidecarError as problem:
                self.active.pop(agent_id, None)
                active.ended.set()
                if isinstance(problem, OutcomeUnknown):
                    # Nobody may resume it before its record is certain.
                    self._resuming.add(agent_id)
                    self._background.start(self._restore(before), f"restoring {agent_id}")
                raise
        if active.life.phase is Phase.QUEUED:
            self._carry_out(active, effects)
        return active

    async def _restore(self, ended: Agent) -> None:
        try:
            await self._records.restore(ended)
        finally:
            self._resuming.discard(ended.agent_id)

    async def stop(self, active: ActiveAgent, reason: str, *, grace: float) -> None:
        """Stops an agent and everything that it started, and revokes its tokens at once. Returns when it has ended.
        Raises SidecarError (AGT_008) if the sidecar stops before its end is stored."""
        # The shortest of concurrent requests applies.
        active.grace = min(active.grace, grace) if active.life.stop_reason else grace
        self._feed(active, life.StopRequested(reason))
        await active.ended.wait()
        stored = await self._store.by_id(active.agent_id)
        if (
            stored is not None
            and stored.agent.attempt == active.record.attempt
            and stored.agent.status not in life.ENDED_STATUSES
        ):
            raise unavailable("AGT_008", "the sidecar is shutting down; stop the agent again once it is back")

    def abandon(self, active: ActiveAgent) -> None:
        """Ends an agent that another sidecar has taken over. What it does here is no longer saved."""
        if not active.life.stop_reason:
            log.error("agent %s was taken over by another sidecar; it is ended here", active.agent_id)
            active.lease.lost, active.grace = True, 0.0
            self._feed(active, life.StopRequested("another sidecar has taken it over"))

    async def observe(self, active: ActiveAgent) -> None:
        """Updates the status of a running agent from its monitor."""
        attempt, record = active.attempt, active.record
        if active.life.phase is not Phase.RUNNING or not active.has_process or attempt is None:
            return
        observed = attempt.monitor.judge(
            time.monotonic(),
            attempt=record.attempt,
            message=record.progress.message,
            stopped_by_signal=attempt.run.is_paused(),
        )
        self._feed(active, observed)

    async def heartbeat(self, active: ActiveAgent, request: SendHeartbeatRequest) -> Agent:
        """Records the progress that an agent reports, and returns its record."""
        progress = active.record.progress
        if request.HasField("percent"):
            progress.percent = request.percent
        progress.message = request.message or progress.message
        progress.at.CopyFrom(self._clock.timestamp())
        if active.attempt is not None:
            active.attempt.monitor.needs_input = request.needs_input
            active.attempt.monitor.record_activity(time.monotonic())
        await self.observe(active)
        return active.record

    # -- queries -------------------------------------------------------------------------------------------

    def find(self, agent_id: str) -> ActiveAgent | None:
        """Returns an active agent; None if it has ended or is unknown."""
        return self.active.get(agent_id)

    def position(self, agent_id: str) -> int:
        """Returns the position in the queue, from 1; 0 if the agent is not queued."""
        return self._queue.position(agent_id)

    def is_over(self, agent_id: str, attempt: int) -> bool:
        """Whether an attempt writes no more output."""
        active = self.active.get(agent_id)
        if active is None or active.life.attempt > attempt:
            return True
        return active.life.attempt == attempt and active.life.phase is Phase.BACKING_OFF

    @property
    def running(self) -> int:
        """The number of agents that have a slot."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """The number of agents that wait for a slot."""
        return len(self._queue)

    def running_types(self) -> list[str]:
        """Returns the type of each agent that has a slot."""
        return [self.active[each].record.agent_type for each in self._running if each in self.active]

    def runner_of(self, request: SpawnAgentRequest) -> Runner:
        """Returns the runner for a spawn. Raises SidecarError (AGT_002) for a type that is not configured."""
        known = self._types.require(request.agent_type)
        return self._runners.once(request.command, known) if request.command else self._runners.of(known)

    # -- state machine -------------------------------------------------------------------------------------

    def _feed(self, active: ActiveAgent, given: life.Input) -> None:
        active.life, effects = life.step(active.life, given)
        if active.life.phase is not Phase.ENDED:
            self._records.write_life(active)
        self._carry_out(active, effects)

    def _carry_out(self, active: ActiveAgent, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Effect.ENQUEUE:
                    self._running.discard(active.agent_id)
                    self._queue.add(active)
                    self.admit()
                case Effect.LEAVE_QUEUE:
                    self._queue.remove(active.agent_id)
                case Effect.CANCEL_RETRY:
                    self._cancel_retry(active)
                case Effect.LAUNCH:
                    self._background.start(self._launch(active), f"starting {active.agent_id}")
                case Effect.WATCH:
                    self._background.start(self._watch(active), f"watching {active.agent_id}")
                case Effect.STOP_PROCESS:
                    self._background.start(self._attempts.stop(active), f"stopping {active.agent_id}")
                case Effect.SAVE_START:
                    spawned = announcements.of_agent(active.record, "agent_spawned")
                    self.in_order(active, partial(self._save, active, self._records.save_start, spawned))
                case Effect.SAVE:
                    stuck = active.life.status == AGENT_STATUS_STUCK
                    event = announcements.of_agent(active.record, "agent_stuck") if stuck else None
                    self.in_order(active, partial(self._save, active, self._records.save, event))
                case Effect.SAVE_RETRY:
                    self._records.write_failed_attempt(active)
                    self.in_order(active, partial(self._retry_later, active))
                case Effect.SCHEDULE_RETRY:
                    self.in_order(active, partial(self._schedule_retry, active))
                case Effect.FINISH:
                    self.in_order(active, partial(self._finish, active))

    def in_order(self, active: ActiveAgent, work: Callable[[], Awaitable[object]]) -> None:
        """Runs work after the effects that came before it."""

        async def wait() -> None:
            async with active.in_order:
                await work()

        self._background.start(wait(), f"saving {active.agent_id}")

    async def _launch(self, active: ActiveAgent) -> None:
        if await self._records.is_taken_over(active):
            self._lose(active)
            return
        self._feed(active, await self._attempts.launch(active))

    async def _watch(self, active: ActiveAgent) -> None:
        self._feed(active, await self._attempts.watch(active))

    async def _save(self, active: ActiveAgent, save: Save, event: Any) -> None:
        await save(active, event)
        if active.taken_over:
            self.abandon(active)

    async def _retry_later(self, active: ActiveAgent) -> None:
        await self._records.save_failed_attempt(active)
        self._running.discard(active.agent_id)
        if active.taken_over:
            self._lose(active)
        self.admit()

    async def _schedule_retry(self, active: ActiveAgent) -> None:
        if active.life.phase is not Phase.BACKING_OFF or self._closing or active.taken_over:
            return
        record = active.record
        due = micros_of(record.retry_at) - self._clock.micros()
        # If the clock was set back, the pause is not longer than planned.
        pause = min(due, micros_of(record.retry_at) - micros_of(record.status_since)) / 1e6
        active.retry_timer = asyncio.get_running_loop().call_later(max(pause, 0.0), self._retry, active)

    def _retry(self, active: ActiveAgent) -> None:
        active.retry_timer = None
        active.usage.begin_attempt()
        active.wait_again()
        self._feed(active, life.RetryDue())

    def _cancel_retry(self, active: ActiveAgent) -> None:
        if active.retry_timer is not None:
            active.retry_timer.cancel()
            active.retry_timer = None

    async def _finish(self, active: ActiveAgent) -> None:
        """Saves and announces the end, and frees the slot."""
        try:
            await self._records.save_end(active)
        finally:
            self._forget(active)

    def _lose(self, active: ActiveAgent) -> None:
        """Another sidecar has taken the agent over: nothing more is done with it here."""
        log.warning("agent %s runs at another sidecar now", active.agent_id)
        self._forget(active)

    def _forget(self, active: ActiveAgent) -> None:
        if active.taken_over and active.attempt is not None:
            active.attempt.run.release()
        self._running.discard(active.agent_id)
        self.active.pop(active.agent_id, None)
        active.set_begun()
        active.ended.set()
        self.admit()


def not_ended(agent_id: str) -> SidecarError:
    """Returns the error (AGT_005) for an operation that requires an ended agent."""
    return conflict("AGT_005", f"agent '{agent_id}' has not ended; stop it first")
