"""The life of agents: queued, started, watched, ended, tried again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import psutil

from cco_sidecar.agents import logs
from cco_sidecar.agents.announce import Announcer
from cco_sidecar.agents.identity import Identities
from cco_sidecar.agents.launch import Launcher, resumes
from cco_sidecar.agents.live import ENDED, GRACE_SECONDS, Live, WaitingLine
from cco_sidecar.agents.outcome import outcome
from cco_sidecar.agents.run import Exit, Run
from cco_sidecar.agents.runners import Runner, Runners
from cco_sidecar.agents.usage import UsageReader
from cco_sidecar.core import codec
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError, conflict, internal
from cco_sidecar.storage.base import AgentStore
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_PENDING,
    AGENT_STATUS_RUNNING,
    AGENT_STATUS_STOPPED,
    Agent,
    AgentStatus,
    SpawnAgentRequest,
)

log = logging.getLogger(__name__)

LAST_LINES = 20
_EVENTS = {
    AGENT_STATUS_COMPLETED: "agent_completed",
    AGENT_STATUS_FAILED: "agent_failed",
    AGENT_STATUS_STOPPED: "agent_stopped",
}
_SAVE_AGAIN_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 1.0
# A keeper that does not answer a stop is ended itself after so long.
_KEEPER_PATIENCE = 3.0
_LONGEST_BACKOFF = 3600.0


class Supervisor:
    def __init__(
        self,
        store: AgentStore,
        announcer: Announcer,
        launcher: Launcher,
        runners: Runners,
        types: AgentTypes,
        identities: Identities,
        clock: Clock,
        max_concurrent: int,
        find_result: Callable[[Agent, str, str], Awaitable[str]],
    ) -> None:
        """``find_result(agent, session, answer)``: the id of the result of an ended run; for one that stored none, what
        its program said last is stored as such."""
        self._store = store
        self._announcer = announcer
        self._launcher = launcher
        self._runners = runners
        self._types = types
        self._identities = identities
        self._clock = clock
        self.max_concurrent = max_concurrent
        self._find_result = find_result
        self.live: dict[str, Live] = {}
        self._queue = WaitingLine()
        self._running: set[str] = set()
        # Ended agents that are just being started again.
        self._resuming: set[str] = set()
        self._background = Background()
        self._open = False
        self._closing = False

    # -- coming and going of the sidecar ------------------------------------------------------------

    def start(self) -> None:
        """Starts what waits in the queue."""
        self._open = True
        self._admit()

    def watch(self, live: Live) -> None:
        """Takes in one that an earlier sidecar began."""
        self.live[live.agent.agent_id] = live
        self._running.add(live.agent.agent_id)
        self._background.start(self._watch(live), f"watching {live.agent.agent_id}")

    def wait(self, live: Live) -> None:
        """Takes in one that is still to be begun."""
        self.live[live.agent.agent_id] = live
        if live.agent.HasField("retry_at"):
            self._retry_later(live)
        else:
            self._queue.join(live)

    async def close(self, *, keep_agents: bool) -> None:
        """Ends the running agents, or leaves them to the next sidecar; queued ones stay queued."""
        self._closing = True
        if not keep_agents:
            running = [self.live[agent_id] for agent_id in self._running if agent_id in self.live]
            await asyncio.gather(
                *(self.stop(live, "the sidecar was stopped", grace=GRACE_SECONDS / 2) for live in running),
                return_exceptions=True,
            )
        for live in self.live.values():
            if live.retry is not None:
                live.retry.cancel()
        # One that is just being started has its keeper before we go.
        starting = [live.begun for live in self.live.values() if live.agent.agent_id in self._running]
        await asyncio.gather(*starting, return_exceptions=True)
        await self._background.end()

    # -- acts ---------------------------------------------------------------------------------------

    async def add(self, agent: Agent, request: SpawnAgentRequest) -> Live | None:
        """Takes an agent in: on disk, then queued, then started when there is room. None when its cause already has
        an agent. Goes on also when its caller goes away. Raises SidecarError."""
        return await self._background.finish(self._add(agent, request))

    async def _add(self, agent: Agent, request: SpawnAgentRequest) -> Live | None:
        runner = self.runner_of(request)
        number = await self._store.add(agent, request, created=self._clock.micros())
        if not number:
            return None
        live = self.live[agent.agent_id] = Live(number, agent, request, runner)
        self._queue.join(live)
        self._admit()
        return live

    async def again(self, ended: Agent, message: str, reason: str) -> Live:
        """Starts an ended agent once more. Goes on also when its caller goes away. Raises SidecarError: AGT_005 for one
        that somebody else has started since ``ended`` was read."""
        agent_id = ended.agent_id
        if agent_id in self.live or agent_id in self._resuming:
            raise still_runs(agent_id)
        # At once: whoever comes next sees it.
        self._resuming.add(agent_id)
        return await self._background.finish(self._again(ended, message, reason))

    async def _again(self, ended: Agent, message: str, reason: str) -> Live:
        try:
            # It may have been started, and have ended, in the time that its caller took.
            stored = await self._store.by_id(ended.agent_id)
            if stored is None or stored.agent.attempt != ended.attempt or stored.agent.status not in ENDED:
                raise still_runs(ended.agent_id)
            agent = stored.agent
            live = Live(stored.number, agent, stored.request, self.runner_of(stored.request))
            self.live[agent.agent_id] = live
        finally:
            self._resuming.discard(ended.agent_id)
        agent.message = message
        await asyncio.to_thread(self._launcher.read_attempts, live, agent.attempt)
        for name in ("ended_at", "exit_code", "signal", "process_id", "retry_at"):
            agent.ClearField(name)
        agent.max_attempts = max(agent.max_attempts, agent.attempt + 1)
        self.set_status(agent, AGENT_STATUS_PENDING, reason)
        try:
            await self._store.save(agent)
        except SidecarError:
            self.live.pop(agent.agent_id, None)
            raise
        if not live.stop_reason:
            self._queue.join(live)
            self._admit()
        return live

    async def stop(self, live: Live, reason: str, *, grace: float) -> None:
        """Ends an agent and everything it started; its tokens are dead at once. Returns when it has ended. Goes on also
        when its caller goes away."""
        live.stop_reason = live.stop_reason or reason
        await self._background.finish(self._stop(live, grace))

    async def _stop(self, live: Live, grace: float) -> None:
        agent_id = live.agent.agent_id
        if agent_id not in self._running:
            if live.retry is not None:
                live.retry.cancel()
            await self._end(live, AGENT_STATUS_STOPPED, live.stop_reason)
            return
        if live.run is not None:
            # What is done before it begins, such as its worktree, is not waited for.
            live.run.stop(grace)
        # Its tokens are dead before it is.
        await asyncio.gather(self._identities.end(live), asyncio.wait({live.begun}))
        if live.run is not None:
            live.run.stop(grace)
            try:
                await asyncio.wait_for(asyncio.shield(live.ended.wait()), grace + _KEEPER_PATIENCE)
            except TimeoutError:
                live.run.kill()
        await live.ended.wait()

    def find(self, agent_id: str) -> Live | None:
        return self.live.get(agent_id)

    def position(self, agent_id: str) -> int:
        """Place in the queue, from 1 on; 0 for one that is not queued."""
        return self._queue.position(agent_id)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def queued(self) -> int:
        return len(self._queue)

    def running_types(self) -> dict[str, str]:
        """Running agents' ids to their types."""
        return {each: self.live[each].agent.agent_type for each in self._running if each in self.live}

    def set_status(self, agent: Agent, status: AgentStatus, reason: str) -> None:
        agent.status = status
        agent.reason = reason
        agent.status_since.CopyFrom(self._clock.timestamp())

    # -- one agent's way -------------------------------------------------------------------------------

    def runner_of(self, request: SpawnAgentRequest) -> Runner:
        """Raises SidecarError (AGT_002) for a type that is not configured."""
        known = self._types.known(request.agent_type)
        return self._runners.once(request.command) if request.command else self._runners.of(known)

    def _admit(self) -> None:
        """Starts who is next while there is room."""
        while self._queue and self._open and not self._closing:
            if self.max_concurrent and len(self._running) >= self.max_concurrent:
                return
            agent_id = self._queue.next()
            self._running.add(agent_id)
            self._background.start(self._live(self.live[agent_id]), f"starting {agent_id}")

    async def _live(self, live: Live) -> None:
        try:
            await self._begin(live)
        except (SidecarError, OSError) as problem:
            await self._could_not_begin(live, problem)
        except Exception as problem:
            log.exception("agent %s could not be started", live.agent.agent_id)
            await self._could_not_begin(live, internal("AGT_001", f"an internal error: {type(problem).__name__}"))
        else:
            await self._watch(live)

    async def _begin(self, live: Live) -> None:
        agent = live.agent
        begin_attempt(agent)
        live.needs_input = live.has_result = False
        live.keeper_stops, live.ended_for = 0, ""
        live.questions.clear()
        run = self._launcher.run_of(agent)
        started = self._clock.timestamp()
        await asyncio.to_thread(run.prepare)
        if live.stop_reason:
            # Its tokens are dead from the first moment: no new one is made.
            raise conflict("AGT_005", f"agent '{agent.agent_id}' was stopped before it began: {live.stop_reason}")
        token = self._identities.begin(live)
        live.run = run
        pid = await self._launcher.launch(agent, live.request, live.runner, run, token.token)
        live.token = token
        live.before.session_id = agent.usage.session_id
        if resumes(live.runner, agent):
            live.usage = UsageReader(agent.usage.session_id)
        live.heard = time.monotonic()
        live.set_deadline(0.0)
        live.reader = logs.LogReader(run.output)
        agent.process_id = pid
        agent.started_at.CopyFrom(started)
        self.set_status(agent, AGENT_STATUS_RUNNING, f"attempt {agent.attempt}")
        try:
            await self._announcer.save(agent, "agent_spawned")
        except SidecarError:
            # It runs, and the record still says pending: it would be found again all the same.
            log.warning("agent %s runs; its record is still to be written", agent.agent_id)
            live.unsaved = "agent_spawned"
        log.info("agent started", extra=_who(agent) | {"pid": pid, "attempt": agent.attempt})
        if not live.begun.done():
            live.begun.set_result(None)

    async def _could_not_begin(self, live: Live, problem: SidecarError | OSError) -> None:
        reason = problem.message if isinstance(problem, SidecarError) else f"could not be started: {problem.strerror}"
        if not live.begun.done():
            error = problem if isinstance(problem, SidecarError) else internal("AGT_001", reason)
            live.begun.set_exception(error)
            # Nobody may be waiting: it was queued.
            live.begun.exception()
        await self._identities.end(live)
        status = AGENT_STATUS_STOPPED if live.stop_reason else AGENT_STATUS_FAILED
        await self._end(live, status, live.stop_reason or reason)

    async def _watch(self, live: Live) -> None:
        assert live.run is not None
        if not live.begun.done():
            live.begun.set_result(None)
        end = await self._end_of(live.run)
        try:
            await self._ended(live, end)
        except Exception as problem:
            log.exception("the end of agent %s could not be dealt with", live.agent.agent_id)
            await self._end(live, AGENT_STATUS_FAILED, f"an internal error: {type(problem).__name__}")

    async def _end_of(self, run: Run) -> Exit:
        while True:
            try:
                return await run.ended()
            except (OSError, psutil.Error) as problem:
                # No descriptor is free, for one.
                log.warning("%s could not be looked at; it is again: %s", run.directory, problem)
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _ended(self, live: Live, end: Exit) -> None:
        agent, run = live.agent, live.run
        assert run is not None
        await self._identities.end(live)
        await self._until_saved(agent, partial(self.save_late, live))
        await live.read_reports()
        lines = await asyncio.to_thread(logs.last_lines, run.output, LAST_LINES)
        status, reason = outcome(
            end,
            lines,
            stop_reason=live.stop_reason,
            reported=live.usage.error,
            ended_for=live.ended_for,
            open_files=live.runner.limits.open_files,
        )
        if status == AGENT_STATUS_FAILED and agent.attempt < agent.max_attempts:
            _set_end(agent, end, lines)
            await self._try_again(live, run, reason)
            return
        answer = live.usage.final if status == AGENT_STATUS_COMPLETED else ""
        if found := await self._find_result(agent, live.session, answer):
            agent.result_id, live.has_result = found, True
        await self._end(live, status, reason, end, lines)

    async def _try_again(self, live: Live, run: Run, reason: str) -> None:
        """Its next attempt, after a pause that doubles each time."""
        agent = live.agent
        pause = min(live.runner.backoff_seconds * 2 ** (agent.attempt - 1), _LONGEST_BACKOFF)
        agent.ClearField("process_id")
        agent.retry_at.CopyFrom(timestamp(self._clock.micros() + int(pause * 1e6)))
        self.set_status(agent, AGENT_STATUS_PENDING, f"{reason}; tried again in {pause:g} s")
        live.token = None
        if await self._save_end(live, agent):
            await asyncio.to_thread(run.clean)
        log.info("agent will be tried again", extra=_who(agent) | {"attempt": agent.attempt})
        self._running.discard(agent.agent_id)
        if live.stop_reason:
            await self._end(live, AGENT_STATUS_STOPPED, live.stop_reason)
        elif not self._closing:
            self._retry_later(live)
            self._admit()

    async def _end(
        self, live: Live, status: AgentStatus, reason: str, end: Exit | None = None, lines: Sequence[str] = ()
    ) -> None:
        """Its last word: on disk, announced, and its place given to the next."""
        if live.ending:
            await live.ended.wait()
            return
        live.ending = True
        self._queue.leave(live.agent.agent_id)
        try:
            await self._write_end(live, status, reason, end, lines)
        finally:
            self._running.discard(live.agent.agent_id)
            self.live.pop(live.agent.agent_id, None)
            if not live.begun.done():
                live.begun.set_result(None)
            live.ended.set()
            self._admit()

    async def _write_end(
        self, live: Live, status: AgentStatus, reason: str, end: Exit | None, lines: Sequence[str]
    ) -> None:
        # A copy: whoever asks sees the end when all of it is done.
        agent = Agent()
        agent.CopyFrom(live.agent)
        if end is not None:
            _set_end(agent, end, lines)
        agent.ended_at.CopyFrom(agent.ended_at if agent.HasField("ended_at") else self._clock.timestamp())
        agent.ClearField("retry_at")
        agent.ClearField("process_id")
        self.set_status(agent, status, reason)
        await self._launcher.worktrees.tidy(agent)
        ended = codec.enum_name(AgentStatus.DESCRIPTOR, status)
        # Not the reason: a program's own words may hold anything.
        how = {"exit_code": end.exit_code, "signal": end.signal, "limit": end.limit} if end is not None else {}
        log.info("agent ended", extra=_who(agent) | {"status": ended, "attempt": agent.attempt} | how)
        announced = live.has_result and status == AGENT_STATUS_COMPLETED
        saved = await self._save_end(live, agent, "" if announced else _EVENTS.get(status, ""))
        if saved and live.run is not None:
            # Only now: the exit code stays where it was written until the record has it.
            await asyncio.to_thread(live.run.clean)

    async def save_late(self, live: Live) -> None:
        """What could not be saved when it was to be. Raises SidecarError (STR_001)."""
        async with live.saving:
            if live.unsaved is not None:
                await self._announcer.save(live.agent, live.unsaved)
                live.unsaved = None

    async def _save_end(self, live: Live, agent: Agent, event_type: str = "") -> bool:
        """Until it is on disk, and before it that its tokens are dead: how an agent ended is not to be forgotten. False
        when the sidecar goes before: then the next one reads how it ended where the keeper wrote it."""

        async def save() -> None:
            await self._identities.write_end(live)
            await self._announcer.save(agent, event_type)

        return await self._until_saved(agent, save)

    async def _until_saved(self, agent: Agent, save: Callable[[], Awaitable[None]]) -> bool:
        while True:
            try:
                await save()
                return True
            except SidecarError as problem:
                log.warning("agent %s is not saved yet: %s", agent.agent_id, problem)
            if self._closing:
                return False
            await asyncio.sleep(_SAVE_AGAIN_SECONDS)

    def _retry_later(self, live: Live) -> None:
        """Queues it again when its time has come."""
        agent = live.agent
        due = micros_of(agent.retry_at) - self._clock.micros()
        # A clock that was set back does not make the pause longer than it was to be.
        pause = min(due, micros_of(agent.retry_at) - micros_of(agent.status_since)) / 1e6

        def again() -> None:
            live.retry = None
            live.begin_attempt()
            live.begun = asyncio.get_running_loop().create_future()
            self._queue.join(live)
            self._admit()

        live.retry = asyncio.get_running_loop().call_later(max(pause, 0.0), again)


def _who(agent: Agent) -> dict[str, str]:
    return {name: getattr(agent, name) for name in ("agent_id", "agent_type", "issue_id", "project_id")}


def still_runs(agent_id: str) -> SidecarError:
    return conflict("AGT_005", f"agent '{agent_id}' has not ended; stop it first")


def begin_attempt(agent: Agent) -> None:
    """The next attempt, without what the one before left."""
    agent.attempt += 1
    for name in ("retry_at", "ended_at", "exit_code", "signal", "peak_memory_bytes", "cpu_seconds", "progress"):
        agent.ClearField(name)
    del agent.last_output[:]


def _set_end(agent: Agent, end: Exit, lines: Sequence[str]) -> None:
    agent.last_output[:] = lines
    for name in ("exit_code", "signal", "peak_memory_bytes", "cpu_seconds"):
        value = getattr(end, name)
        if value is not None:
            setattr(agent, name, value)
    if end.ended_at is not None:
        agent.ended_at.CopyFrom(timestamp(int(end.ended_at * 1e6)))
