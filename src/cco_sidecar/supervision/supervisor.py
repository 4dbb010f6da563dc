"""Runs the lifecycle of agents: feeds the state machine and executes its effects."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import psutil

from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import announcements, codec
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError, conflict, internal
from cco_sidecar.core.principal import OPERATOR
from cco_sidecar.runners import logs
from cco_sidecar.runners.launch import GRACE_SECONDS, Launcher, resumes, timeout_of
from cco_sidecar.runners.outcome import outcome
from cco_sidecar.runners.presets import Runner, Runners
from cco_sidecar.runners.run import Exit, Run
from cco_sidecar.runners.usage import UsageReader
from cco_sidecar.storage.base import AgentStore
from cco_sidecar.supervision import life
from cco_sidecar.supervision.active import ActiveAgent
from cco_sidecar.supervision.final_result import FinalResults
from cco_sidecar.supervision.leases import Leases
from cco_sidecar.supervision.life import ENDED_STATUSES, Effect, Life, Phase
from cco_sidecar.supervision.monitor import Monitor
from cco_sidecar.supervision.queue import StartQueue
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_STOPPED,
    AGENT_STATUS_STUCK,
    Agent,
    AgentStatus,
    SendHeartbeatRequest,
    SpawnAgentRequest,
)
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

LAST_LINES = 20
_END_EVENTS = {
    AGENT_STATUS_COMPLETED: "agent_completed",
    AGENT_STATUS_FAILED: "agent_failed",
    AGENT_STATUS_STOPPED: "agent_stopped",
}
_SAVE_AGAIN_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 1.0
# Seconds after the grace period before a shim that does not respond is killed.
_SHIM_PATIENCE = 3.0
_LONGEST_BACKOFF = 3600.0
# Seconds after the wall-time limit that the shim has before the sidecar ends the agent itself.
_SLACK_SECONDS = 10.0
_OF_THE_END = ("exit_code", "signal", "peak_memory_bytes", "cpu_seconds")


class Supervisor:
    """Supervises all agents of the sidecar. ``active``: agents that have not ended, by id. Not thread-safe."""

    def __init__(
        self,
        store: AgentStore,
        outbox: Outbox,
        launcher: Launcher,
        runners: Runners,
        types: AgentTypes,
        leases: Leases,
        clock: Clock,
        max_concurrent: int,
        final_results: FinalResults,
    ) -> None:
        """``max_concurrent``: slots for running agents; 0 means no limit."""
        self._store = store
        self._outbox = outbox
        self._launcher = launcher
        self._runners = runners
        self._types = types
        self._leases = leases
        self._clock = clock
        self.max_concurrent = max_concurrent
        self._final_results = final_results
        self.active: dict[str, ActiveAgent] = {}
        self._queue = StartQueue()
        # Ids of the agents that have a slot.
        self._running: set[str] = set()
        # Ids of ended agents that are being resumed.
        self._resuming: set[str] = set()
        self._background = Background()
        self._open = False
        self._closing = False

    # -- startup and shutdown ----------------------------------------------------------------------------

    def start(self) -> None:
        """Starts queued agents, from now on."""
        self._open = True
        self._admit()

    def adopt(self, active: ActiveAgent, effects: Iterable[Effect]) -> None:
        """Takes over an agent of an earlier sidecar. ``effects``: those of its recovered life."""
        self.active[active.agent_id] = active
        if active.life.phase is Phase.RUNNING:
            self._running.add(active.agent_id)
            active.set_begun()
        self._write_life(active)
        self._carry_out(active, effects)

    async def close(self, *, keep_agents: bool) -> None:
        """Stops the running agents, or leaves them to the next sidecar. Queued agents stay queued."""
        self._closing = True
        if not keep_agents:
            running = [self.active[agent_id] for agent_id in self._running if agent_id in self.active]
            await asyncio.gather(
                *(self.stop(active, "the sidecar was stopped", grace=GRACE_SECONDS / 2) for active in running),
                return_exceptions=True,
            )
        for active in self.active.values():
            self._cancel_retry(active)
        # Wait until agents that are being started have a shim.
        starting = [active.begun for active in self.active.values() if active.agent_id in self._running]
        await asyncio.gather(*starting, return_exceptions=True)
        await self._background.end()

    # -- operations ----------------------------------------------------------------------------------------

    async def spawn(self, agent: Agent, request: SpawnAgentRequest) -> ActiveAgent | None:
        """Stores an agent, queues it, and starts it once a slot is free. Returns None if its cause already has an
        agent.

        Runs to completion even if the caller is cancelled. Raises SidecarError.
        """
        return await self._background.finish(self._spawn(agent, request))

    async def _spawn(self, agent: Agent, request: SpawnAgentRequest) -> ActiveAgent | None:
        runner = self.runner_of(request)
        new = Life(reason=agent.reason, max_attempts=agent.max_attempts)
        number = await self._store.add(agent, request, created=self._clock.micros())
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
            agent = stored.agent
            was = Life(Phase.ENDED, agent.status, agent.reason, agent.attempt, agent.max_attempts)
            resumed, effects = life.step(was, life.Resumed(reason))
            active = ActiveAgent(stored.number, agent, stored.request, self.runner_of(stored.request), resumed)
            self.active[agent_id] = active
        finally:
            self._resuming.discard(agent_id)
        agent.message = message
        async with active.in_order:
            await asyncio.to_thread(read_attempts, active, self._launcher, agent.attempt)
            for name in ("ended_at", "exit_code", "signal", "process_id", "retry_at"):
                agent.ClearField(name)
            self._write_life(active)
            try:
                await self._store.save(agent)
            except SidecarError:
                self.active.pop(agent_id, None)
                active.ended.set()
                raise
        if active.life.phase is Phase.QUEUED:
            self._carry_out(active, effects)
        return active

    async def stop(self, active: ActiveAgent, reason: str, *, grace: float) -> None:
        """Stops an agent and everything that it started, and revokes its tokens at once. Returns when it has ended."""
        active.grace = grace
        self._feed(active, life.StopRequested(reason))
        await active.ended.wait()

    async def observe(self, active: ActiveAgent) -> None:
        """Updates the status of a running agent from its monitor."""
        if active.life.phase is not Phase.RUNNING or not active.has_process:
            return
        monitor, record = active.monitor, active.record
        observed = monitor.judge(
            time.monotonic(),
            attempt=record.attempt,
            message=record.progress.message,
            stopped_by_signal=_is_stopped(record.process_id),
        )
        self._feed(active, observed)

    async def heartbeat(self, active: ActiveAgent, request: SendHeartbeatRequest) -> Agent:
        """Records the progress that an agent reports, and returns its record."""
        progress = active.record.progress
        if request.HasField("percent"):
            progress.percent = request.percent
        progress.message = request.message or progress.message
        progress.at.CopyFrom(self._clock.timestamp())
        active.monitor.needs_input = request.needs_input
        active.monitor.hear(time.monotonic())
        await self.observe(active)
        return active.record

    def on_event(self, project: str, entry: Entry) -> None:
        """Handles events about results, approval requests and answers."""
        if entry.event_type not in _HEARD:
            return
        active = self.active.get(entry.text("agent_id") or "")
        # Accept only events of the agent itself or of the operator.
        if active is None or entry.publisher not in (active.agent_id, OPERATOR):
            return
        if entry.event_type == announcements.APPROVAL_REQUESTED:
            active.monitor.questions.add(entry.text("approval_id") or "")
            active.record.progress.message = entry.text("question") or ""
        elif entry.event_type == announcements.APPROVAL_ANSWERED:
            if entry.publisher == OPERATOR:
                active.monitor.questions.discard(entry.text("approval_id") or "")
        elif result_id := entry.text("result_id"):
            active.record.result_id = result_id

    # -- queries -------------------------------------------------------------------------------------------

    def find(self, agent_id: str) -> ActiveAgent | None:
        """Returns an active agent; None if it has ended or is unknown."""
        return self.active.get(agent_id)

    def position(self, agent_id: str) -> int:
        """Returns the position in the queue, from 1; 0 if the agent is not queued."""
        return self._queue.position(agent_id)

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
        known = self._types.known(request.agent_type)
        return self._runners.once(request.command) if request.command else self._runners.of(known)

    # -- state machine -------------------------------------------------------------------------------------

    def _feed(self, active: ActiveAgent, given: life.Input) -> None:
        active.life, effects = life.step(active.life, given)
        if active.life.phase is not Phase.ENDED:
            self._write_life(active)
        self._carry_out(active, effects)

    def _write_life(self, active: ActiveAgent) -> None:
        """Copies the life into the record. The end is written to a copy, so that others see it only once it is on
        disk."""
        record, now = active.record, active.life
        if (record.status, record.reason) != (now.status, now.reason):
            _set_status(record, now.status, now.reason, self._clock)
        record.attempt = now.attempt
        record.max_attempts = now.max_attempts

    def _carry_out(self, active: ActiveAgent, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Effect.ENQUEUE:
                    self._queue.add(active)
                    self._admit()
                case Effect.LEAVE_QUEUE:
                    self._queue.remove(active.agent_id)
                case Effect.CANCEL_RETRY:
                    self._cancel_retry(active)
                case Effect.LAUNCH:
                    self._background.start(self._launch(active), f"starting {active.agent_id}")
                case Effect.WATCH:
                    self._background.start(self._watch(active), f"watching {active.agent_id}")
                case Effect.STOP_PROCESS:
                    self._background.start(self._stop_process(active), f"stopping {active.agent_id}")
                case Effect.SAVE_START:
                    self._in_order(active, partial(self._save_start, active, _event(active, "agent_spawned")))
                case Effect.SAVE:
                    stuck = active.life.status == AGENT_STATUS_STUCK
                    event = announcements.of_agent(active.record, "agent_stuck") if stuck else None
                    self._in_order(
                        active, partial(self._until_saved, active, partial(self._save, active.record, event))
                    )
                case Effect.SAVE_RETRY:
                    self._write_failed_attempt(active)
                    self._in_order(active, partial(self._save_retry, active))
                case Effect.SCHEDULE_RETRY:
                    self._in_order(active, partial(self._schedule_retry, active))
                case Effect.FINISH:
                    self._in_order(active, partial(self._finish, active))

    def _in_order(self, active: ActiveAgent, work: Callable[[], Awaitable[object]]) -> None:
        """Runs work after the effects that came before it."""

        async def wait() -> None:
            async with active.in_order:
                await work()

        self._background.start(wait(), f"saving {active.agent_id}")

    def _admit(self) -> None:
        """Gives free slots to the next queued agents."""
        while self._queue and self._open and not self._closing:
            if self.max_concurrent and len(self._running) >= self.max_concurrent:
                return
            agent_id = self._queue.pop()
            self._running.add(agent_id)
            self._feed(self.active[agent_id], life.Admitted())

    # -- one attempt ---------------------------------------------------------------------------------------

    async def _launch(self, active: ActiveAgent) -> None:
        try:
            await self._begin(active)
        except SidecarError as problem:
            self._start_failed(active, problem)
        except OSError as problem:
            self._start_failed(active, internal("AGT_001", f"the agent could not be started: {problem.strerror}"))
        except Exception as problem:
            log.exception("could not start agent %s", active.agent_id)
            self._start_failed(active, internal("AGT_001", f"internal error: {type(problem).__name__}"))
        else:
            self._feed(active, life.Started())

    async def _begin(self, active: ActiveAgent) -> None:
        agent = active.record
        clear_attempt(agent)
        active.monitor = Monitor(stuck_after=active.runner.stuck_after_seconds or 0)
        active.exit, active.last_lines, active.has_result = None, [], False
        run = self._launcher.run_of(agent)
        started = self._clock.timestamp()
        await asyncio.to_thread(run.prepare)
        if active.life.stop_reason:
            # The tokens are already revoked: create no new one.
            reason = active.life.stop_reason
            raise conflict("AGT_005", f"agent '{agent.agent_id}' was stopped before it started: {reason}")
        token = self._leases.begin(active.lease, agent)
        active.run = run
        pid = await self._launcher.spawn(agent, active.request, active.runner, run, token.token)
        active.usage.set_session(agent.usage.session_id)
        watch_attempt(active, run, spent=0.0)
        agent.process_id = pid
        agent.started_at.CopyFrom(started)
        log.info("agent started", extra=_who(agent) | {"pid": pid, "attempt": agent.attempt})

    def _start_failed(self, active: ActiveAgent, problem: SidecarError) -> None:
        if not active.begun.done():
            active.begun.set_exception(problem)
            # Retrieve the exception; nobody may be waiting for a queued agent.
            active.begun.exception()
        self._feed(active, life.StartFailed(problem.message))

    async def _watch(self, active: ActiveAgent) -> None:
        assert active.run is not None
        end = await self._exit_of(active.run)
        try:
            exited = await self._judge_exit(active, active.run, end)
        except Exception as problem:
            log.exception("could not process the end of agent %s", active.agent_id)
            exited = life.Exited(AGENT_STATUS_FAILED, f"internal error: {type(problem).__name__}")
            active.record.max_attempts = active.record.attempt
        self._feed(active, exited)

    async def _exit_of(self, run: Run) -> Exit:
        while True:
            try:
                return await run.ended()
            except (OSError, psutil.Error) as problem:
                # For example, no descriptor is free.
                log.warning("cannot check the run %s, retrying: %s", run.directory, problem)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _judge_exit(self, active: ActiveAgent, run: Run, end: Exit) -> life.Exited:
        await self._leases.end(active.lease, active.agent_id)
        await active.read_reports()
        lines = await asyncio.to_thread(logs.last_lines, run.output, LAST_LINES)
        active.exit, active.last_lines = end, lines
        status, reason = outcome(
            end,
            lines,
            stop_reason=active.life.stop_reason,
            reported=active.usage.attempt.error,
            ended_for=active.monitor.ended_for,
            open_files=active.runner.limits.open_files,
        )
        return life.Exited(status, reason, f"{reason}; next attempt in {self._pause(active):g} s")

    async def _stop_process(self, active: ActiveAgent) -> None:
        """Asks the shim to end the process, and revokes the tokens without waiting for the end. A preparation in
        progress, such as that of the worktree, is ended too."""
        grace = active.grace
        if active.run is not None:
            active.run.stop(grace)
        await asyncio.gather(self._leases.end(active.lease, active.agent_id), asyncio.wait({active.begun}))
        if active.run is None:
            return
        active.run.stop(grace)
        try:
            await asyncio.wait_for(active.ended.wait(), grace + _SHIM_PATIENCE)
        except TimeoutError:
            active.run.kill()

    # -- persistence ---------------------------------------------------------------------------------------

    async def _save_start(self, active: ActiveAgent, event: Event) -> None:
        """Saves the start. Callers that wait for it return after the first try: the agent runs even if the disk is
        full, and the next sidecar would still find it."""
        try:
            await self._save(active.record, event)
        except SidecarError as problem:
            log.warning("agent %s runs, but its record could not be saved yet: %s", active.agent_id, problem)
            active.set_begun()
            await self._until_saved(active, partial(self._save, active.record, event))
        else:
            active.set_begun()

    def _pause(self, active: ActiveAgent) -> float:
        """Returns the seconds before the next attempt; doubled each time, at most one hour."""
        doubled: float = active.runner.backoff_seconds * 2 ** (active.life.attempt - 1)
        return min(doubled, _LONGEST_BACKOFF)

    def _write_failed_attempt(self, active: ActiveAgent) -> None:
        record = active.record
        _write_exit(record, active)
        record.ClearField("process_id")
        record.retry_at.CopyFrom(timestamp(self._clock.micros() + int(self._pause(active) * 1e6)))
        active.lease.token = None

    async def _save_retry(self, active: ActiveAgent) -> None:
        if await self._save_end(active, active.record) and active.run is not None:
            await asyncio.to_thread(active.run.clean)
        log.info("agent will be retried", extra=_who(active.record) | {"attempt": active.record.attempt})
        self._running.discard(active.agent_id)
        self._admit()

    async def _schedule_retry(self, active: ActiveAgent) -> None:
        if active.life.phase is not Phase.BACKING_OFF or self._closing:
            return
        record = active.record
        due = micros_of(record.retry_at) - self._clock.micros()
        # If the clock was set back, the pause is not longer than planned.
        pause = min(due, micros_of(record.retry_at) - micros_of(record.status_since)) / 1e6
        active.retry_timer = asyncio.get_running_loop().call_later(max(pause, 0.0), self._retry, active)

    def _retry(self, active: ActiveAgent) -> None:
        active.retry_timer = None
        active.usage.begin_attempt()
        active.begun = asyncio.get_running_loop().create_future()
        self._feed(active, life.RetryDue())

    def _cancel_retry(self, active: ActiveAgent) -> None:
        if active.retry_timer is not None:
            active.retry_timer.cancel()
            active.retry_timer = None

    async def _finish(self, active: ActiveAgent) -> None:
        """Saves and announces the end, and frees the slot."""
        try:
            await self._write_end(active)
        finally:
            self._running.discard(active.agent_id)
            self.active.pop(active.agent_id, None)
            active.set_begun()
            active.ended.set()
            self._admit()

    async def _write_end(self, active: ActiveAgent) -> None:
        if not active.lease.revoked:
            await self._leases.end(active.lease, active.agent_id)
        status = active.life.status
        if active.exit is not None:
            answer = active.usage.attempt.final if status == AGENT_STATUS_COMPLETED else ""
            if found := await self._final_results.find(active.record, active.lease.session, answer):
                active.record.result_id, active.has_result = found, True
        # Write to a copy, so that callers see the end only once it is complete.
        record = Agent()
        record.CopyFrom(active.record)
        _write_exit(record, active)
        record.ended_at.CopyFrom(record.ended_at if record.HasField("ended_at") else self._clock.timestamp())
        record.ClearField("retry_at")
        record.ClearField("process_id")
        _set_status(record, status, active.life.reason, self._clock)
        await self._launcher.worktrees.tidy(record)
        end = active.exit
        # Not the reason: it may contain text from the program.
        how = {"exit_code": end.exit_code, "signal": end.signal, "limit": end.limit} if end is not None else {}
        ended = codec.enum_name(AgentStatus.DESCRIPTOR, status)
        log.info("agent ended", extra=_who(record) | {"status": ended, "attempt": record.attempt} | how)
        announced = active.has_result and status == AGENT_STATUS_COMPLETED
        event = None if announced else announcements.of_agent(record, _END_EVENTS[status])
        saved = await self._save_end(active, record, event)
        if saved and active.run is not None:
            # Only now: the shim's file keeps the exit code until the record has it.
            await asyncio.to_thread(active.run.clean)

    async def _save_end(self, active: ActiveAgent, record: Agent, event: Event | None = None) -> bool:
        """Saves the revocation of the tokens, then the record, and retries until both are on disk.

        Returns False if the sidecar closes first; the next one then reads the end from the shim's file.
        """

        async def save() -> None:
            await self._leases.save_end(active.lease, active.agent_id)
            await self._save(record, event)

        return await self._until_saved(active, save)

    async def _until_saved(self, active: ActiveAgent, save: Callable[[], Awaitable[None]]) -> bool:
        while True:
            try:
                await save()
                return True
            except SidecarError as problem:
                log.warning("could not save agent %s yet: %s", active.agent_id, problem)
            if self._closing:
                return False
            await asyncio.sleep(_SAVE_AGAIN_SECONDS)

    async def _save(self, record: Agent, event: Event | None) -> None:
        """Raises SidecarError (STR_001)."""
        announcement = await self._store.save(record, event)
        if announcement is not None:
            await self._outbox.publish(announcement)


def read_attempts(active: ActiveAgent, launcher: Launcher, last: int) -> None:
    """Reads the usage of the attempts up to ``last`` from their output, or from the record if an output is missing.
    Blocks on files."""
    record, usage = active.record, active.usage
    outputs = [launcher.run_at(record, attempt).output for attempt in range(1, last + 1)]
    if not active.runner.reports or not all(path.exists() for path in outputs):
        usage.set_before(record.usage)
        return
    for path in outputs:
        usage.begin_attempt(usage.attempt.usage.session_id if active.runner.sessions else "")
        usage.reader = logs.LogReader(path)
        usage.read()
    usage.begin_attempt()
    usage.set_session(record.usage.session_id)
    usage.reader = None


def watch_attempt(active: ActiveAgent, run: Run, *, spent: float) -> None:
    """Prepares to read the output of an attempt from its start. ``spent``: seconds that it has already run."""
    record = active.record
    if resumes(active.runner, record):
        active.usage.attempt = UsageReader(record.usage.session_id)
    active.usage.reader = logs.LogReader(run.output)
    now = time.monotonic()
    active.monitor.hear(now)
    most = timeout_of(active.request, active.runner)
    active.monitor.deadline = now + most - spent + GRACE_SECONDS + _SLACK_SECONDS if most else None


def clear_attempt(agent: Agent) -> None:
    """Removes the previous attempt's fields from the record."""
    for name in ("retry_at", "ended_at", *_OF_THE_END, "progress"):
        agent.ClearField(name)
    del agent.last_output[:]


def not_ended(agent_id: str) -> SidecarError:
    """Returns the error (AGT_005) for an operation that requires an ended agent."""
    return conflict("AGT_005", f"agent '{agent_id}' has not ended; stop it first")


def _write_exit(record: Agent, active: ActiveAgent) -> None:
    end = active.exit
    if end is None:
        return
    record.last_output[:] = active.last_lines
    for name in _OF_THE_END:
        value = getattr(end, name)
        if value is not None:
            setattr(record, name, value)
    if end.ended_at is not None:
        record.ended_at.CopyFrom(timestamp(int(end.ended_at * 1e6)))


def _event(active: ActiveAgent, event_type: str) -> Event:
    return announcements.of_agent(active.record, event_type)


def _set_status(agent: Agent, status: AgentStatus, reason: str, clock: Clock) -> None:
    agent.status = status
    agent.reason = reason
    agent.status_since.CopyFrom(clock.timestamp())


def _is_stopped(pid: int) -> bool:
    """Whether the process was stopped by a signal (SIGSTOP)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _who(agent: Agent) -> dict[str, str]:
    return {name: getattr(agent, name) for name in ("agent_id", "agent_type", "issue_id", "project_id")}


_HEARD = frozenset(
    {"agent_completed", "agent_failed", announcements.APPROVAL_REQUESTED, announcements.APPROVAL_ANSWERED}
)
