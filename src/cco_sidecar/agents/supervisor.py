"""The life of agents: queued, started, watched, ended, tried again; and found again after a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cco_sidecar.agents import logs, worktree
from cco_sidecar.agents.announce import Announcer
from cco_sidecar.agents.launch import GRACE_SECONDS, Launcher
from cco_sidecar.agents.live import ENDED, Live, WaitingLine
from cco_sidecar.agents.outcome import outcome
from cco_sidecar.agents.run import Exit
from cco_sidecar.agents.runners import Runner, Runners
from cco_sidecar.agents.usage import UsageReader, added
from cco_sidecar.auth.tokens import REFRESH_WINDOW_SECONDS, SKEW_SECONDS, TTL_SECONDS, Minted, Tokens
from cco_sidecar.core import ids
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.storage.base import AgentStore
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_NEEDS_INPUT,
    AGENT_STATUS_PENDING,
    AGENT_STATUS_RUNNING,
    AGENT_STATUS_STOPPED,
    Agent,
    AgentStatus,
    SpawnAgentRequest,
)

log = logging.getLogger(__name__)

LAST_LINES = 20
_EVENTS = {AGENT_STATUS_COMPLETED: "agent_completed", AGENT_STATUS_FAILED: "agent_failed"}
_SAVE_AGAIN_SECONDS = 1.0
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
        tokens: Tokens,
        clock: Clock,
        max_concurrent: int,
        find_result: Callable[[Agent, str], Awaitable[str]],
    ) -> None:
        """``find_result(agent, answer)``: the id of an ended agent's result; for one that stored none, what its program
        said last is stored as such."""
        self._store = store
        self._announcer = announcer
        self._launcher = launcher
        self._runners = runners
        self._types = types
        self._tokens = tokens
        self._clock = clock
        self.max_concurrent = max_concurrent
        self._find_result = find_result
        self.live: dict[str, Live] = {}
        self._queue = WaitingLine()
        self._running: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = False
        self._closing = False

    # -- coming and going of the sidecar ------------------------------------------------------------

    async def recover(self) -> None:
        """Finds the agents of an earlier sidecar: watches those that run, says how the others ended, queues the
        rest."""
        for stored in await self._store.unfinished():
            agent = stored.agent
            if agent.status in ENDED:
                await self._announcer.make_good(agent, stored.unannounced)
                continue
            try:
                runner = self._runner(stored.request)
            except SidecarError:
                # Its type or preset is no longer configured; it is watched all the same.
                runner = Runner()
            live = Live(stored.number, agent, stored.request, runner)
            live.needs_input = agent.status == AGENT_STATUS_NEEDS_INPUT
            self.live[agent.agent_id] = live
            run = self._launcher.run_of(agent)
            if agent.status == AGENT_STATUS_PENDING:
                # One that was just being started: its record does not know yet.
                run = self._launcher.run_at(agent, agent.attempt + 1)
            runs = run.adopt()
            if runs or run.has_report or agent.status != AGENT_STATUS_PENDING:
                live.run = run
                live.session = self._tokens.session_of(run.token())
                live.reader = logs.LogReader(run.output)
                live.heard = time.monotonic()
                self._running.add(agent.agent_id)
                if not run.began_here:
                    # A restored copy: the agent may still run where the copy was made.
                    agent.max_attempts = agent.attempt
                await self._found_again(live, stored.unannounced, runs=runs)
                await asyncio.to_thread(self._read_earlier_attempts, live)
                self._background(self._watch(live), agent.agent_id)
            else:
                # A start that was cut short, together with its keeper.
                if run.directory.exists():
                    await asyncio.to_thread(run.kill_leftovers)
                if agent.HasField("retry_at"):
                    self._retry_later(live)
                else:
                    self._queue.join(live)
        await asyncio.to_thread(self._launcher.clean_up, set(self.live))

    def start(self) -> None:
        """Starts what waits in the queue."""
        self._open = True
        self._admit()

    async def _found_again(self, live: Live, unannounced: str, *, runs: bool) -> None:
        agent = live.agent
        if runs:
            # Before the doors open: what it calls with is good.
            self._tokens.lease(agent.agent_id)
        if agent.status == AGENT_STATUS_PENDING:
            assert live.run is not None
            _begin_attempt(agent)
            if runs:
                agent.process_id = live.run.agent_pid
            agent.started_at.CopyFrom(self._clock.timestamp())
            self.set_status(agent, AGENT_STATUS_RUNNING, f"attempt {agent.attempt}")
            await self._announcer.save(agent, "agent_spawned")
        elif unannounced:
            await self._announcer.make_good(agent, unannounced)

    def _read_earlier_attempts(self, live: Live) -> None:
        """What they reported; the present one is read anew from its start."""
        live.before.session_id = live.agent.usage.session_id
        for attempt in range(1, live.agent.attempt) if live.runner.reports else ():
            earlier = Live(0, live.agent, live.request, live.runner)
            earlier.reader = logs.LogReader(self._launcher.run_at(live.agent, attempt).output)
            earlier.take_in_reports()
            live.before.CopyFrom(added(live.before, earlier.usage.usage))

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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- acts ---------------------------------------------------------------------------------------

    async def add(self, agent: Agent, request: SpawnAgentRequest) -> Live | None:
        """Takes an agent in: on disk, then queued, then started when there is room. None when its cause already has
        an agent. Raises SidecarError."""
        runner = self._runner(request)
        number = await self._store.add(agent, request)
        if not number:
            return None
        live = self.live[agent.agent_id] = Live(number, agent, request, runner)
        self._queue.join(live)
        self._admit()
        return live

    async def again(self, agent: Agent, request: SpawnAgentRequest, number: int, message: str, reason: str) -> Live:
        """Starts an ended agent once more. Raises SidecarError."""
        # At once: who else would start it sees that it lives.
        live = self.live[agent.agent_id] = Live(number, agent, request, self._runner(request), message=message)
        live.before.CopyFrom(agent.usage)
        for name in ("ended_at", "exit_code", "signal", "process_id", "retry_at"):
            agent.ClearField(name)
        agent.max_attempts = max(agent.max_attempts, agent.attempt + 1)
        self.set_status(agent, AGENT_STATUS_PENDING, reason)
        try:
            await self._store.save(agent)
        except SidecarError:
            del self.live[agent.agent_id]
            raise
        if not live.stop_reason:
            self._queue.join(live)
            self._admit()
        return live

    async def stop(self, live: Live, reason: str, *, grace: float) -> None:
        """Ends an agent and everything it started; its tokens are dead at once. Returns when it has ended. Goes on also
        when its caller goes away."""
        live.stop_reason = live.stop_reason or reason
        task = self._background(self._stop(live, grace), live.agent.agent_id)
        await asyncio.shield(task)

    async def _stop(self, live: Live, grace: float) -> None:
        agent_id = live.agent.agent_id
        if agent_id not in self._running:
            if live.retry is not None:
                live.retry.cancel()
            await self._end(live, AGENT_STATUS_STOPPED, live.stop_reason)
            return
        # Its tokens are dead before it is.
        await asyncio.gather(self._end_identity(live), asyncio.wait({live.begun}))
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

    def renew_token(self, live: Live) -> None:
        """A fresh token in the agent's file. The older ones stay good as long as the agent lives."""
        assert live.run is not None
        made = self._clock.seconds()
        token = self._mint(live)
        live.run.write_token(token.token)
        live.token, live.token_made = token, made

    def needs_renewal(self, live: Live) -> bool:
        if live.agent.agent_type not in self._types:
            # No longer configured: it keeps the token that it has.
            return False
        if live.token_made is None:
            return True
        # A clock that was set back leaves a token from the future.
        return not -SKEW_SECONDS <= self._clock.seconds() - live.token_made < TTL_SECONDS - REFRESH_WINDOW_SECONDS

    # -- one agent's way -------------------------------------------------------------------------------

    def _runner(self, request: SpawnAgentRequest) -> Runner:
        known = self._types.known(request.agent_type)
        return self._runners.once(request.command) if request.command else self._runners.of(known)

    def _admit(self) -> None:
        """Starts who is next while there is room."""
        while self._queue and self._open and not self._closing:
            if self.max_concurrent and len(self._running) >= self.max_concurrent:
                return
            agent_id = self._queue.next()
            self._running.add(agent_id)
            self._background(self._live(self.live[agent_id]), agent_id)

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
        _begin_attempt(agent)
        live.needs_input = False
        live.questions.clear()
        run = self._launcher.run_of(agent)
        started = self._clock.timestamp()
        self._tokens.minted += agent.attempt == 1
        await asyncio.to_thread(run.prepare)
        live.session = ids.sortable("run")
        token = self._mint(live)
        live.run = run
        pid = await self._launcher.launch(agent, live.request, live.runner, run, token.token, live.message)
        live.token, live.token_made = token, micros_of(started) / 1e6
        live.before.session_id = agent.usage.session_id
        live.heard = time.monotonic()
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
        if not live.begun.done():
            live.begun.set_result(None)

    async def _could_not_begin(self, live: Live, problem: SidecarError | OSError) -> None:
        reason = problem.message if isinstance(problem, SidecarError) else f"could not be started: {problem.strerror}"
        if not live.begun.done():
            error = problem if isinstance(problem, SidecarError) else internal("AGT_001", reason)
            live.begun.set_exception(error)
            # Nobody may be waiting: it was queued.
            live.begun.exception()
        await self._end_identity(live)
        status = AGENT_STATUS_STOPPED if live.stop_reason else AGENT_STATUS_FAILED
        await self._end(live, status, live.stop_reason or reason)

    async def _watch(self, live: Live) -> None:
        assert live.run is not None
        if not live.begun.done():
            live.begun.set_result(None)
        end = await live.run.ended()
        try:
            await self._ended(live, end)
        except Exception as problem:
            log.exception("the end of agent %s could not be dealt with", live.agent.agent_id)
            await self._end(live, AGENT_STATUS_FAILED, f"an internal error: {type(problem).__name__}")

    async def _ended(self, live: Live, end: Exit) -> None:
        agent, run = live.agent, live.run
        assert run is not None
        await self._end_identity(live)
        await self._until_saved(agent, partial(self.save_late, live))
        await live.read_reports()
        lines = await asyncio.to_thread(logs.last_lines, run.output, LAST_LINES)
        status, reason = outcome(
            end,
            lines,
            stop_reason=live.stop_reason,
            reported=live.usage.error,
            open_files=live.runner.limits.open_files,
        )
        if status == AGENT_STATUS_FAILED and agent.attempt < agent.max_attempts:
            backoff = min(live.runner.backoff_seconds * 2 ** (agent.attempt - 1), _LONGEST_BACKOFF)
            _set_end(agent, end, lines)
            agent.ClearField("process_id")
            agent.retry_at.CopyFrom(timestamp(self._clock.micros() + int(backoff * 1e6)))
            self.set_status(agent, AGENT_STATUS_PENDING, f"{reason}; tried again in {backoff:g} s")
            live.token = None
            if await self._save_end(live, agent):
                await asyncio.to_thread(run.clean)
            self._running.discard(agent.agent_id)
            if live.stop_reason:
                await self._end(live, AGENT_STATUS_STOPPED, live.stop_reason)
            elif not self._closing:
                self._retry_later(live)
                self._admit()
            return
        answer = live.usage.final if status == AGENT_STATUS_COMPLETED else ""
        agent.result_id = await self._find_result(agent, answer)
        await self._end(live, status, reason, end, lines)

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
        await self.tidy_worktree(agent)
        announced = agent.result_id and status == AGENT_STATUS_COMPLETED
        saved = await self._save_end(live, agent, "" if announced else _EVENTS.get(status, ""))
        if saved and live.run is not None:
            # Only now: the exit code stays where it was written until the record has it.
            await asyncio.to_thread(live.run.clean)

    async def tidy_worktree(self, agent: Agent) -> bool:
        """Removes the worktree of an ended agent when its work is merged; True when it did."""
        if not self._launcher.owns_worktree(agent):
            return False
        try:
            if await worktree.tidy(self._launcher.root(agent.project_id), Path(agent.worktree), agent.branch):
                agent.worktree = ""
                return True
        except SidecarError as problem:
            log.warning("the worktree of %s stays: %s", agent.agent_id, problem)
        return False

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
            if not live.revoked:
                await self._revoke(live)
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
            live.before.CopyFrom(live.agent.usage)
            live.usage = UsageReader()
            live.begun = asyncio.get_running_loop().create_future()
            self._queue.join(live)
            self._admit()

        live.retry = asyncio.get_running_loop().call_later(max(pause, 0.0), again)

    # -- identity ------------------------------------------------------------------------------------

    def _mint(self, live: Live) -> Minted:
        agent = live.agent
        self._tokens.lease(agent.agent_id)
        live.revoked = False
        known = self._types.known(agent.agent_type)
        return self._tokens.mint_agent(
            known,
            agent_id=agent.agent_id,
            project=agent.project_id,
            issue=agent.issue_id,
            session=live.session,
        )

    async def _end_identity(self, live: Live) -> None:
        """In force at once, also when the disk is full; it is on disk before its end is."""
        agent_id = live.agent.agent_id
        self._tokens.release(agent_id)
        try:
            await self._revoke(live)
        except SidecarError as problem:
            log.warning("the revocation of %s is not on disk yet: %s", agent_id, problem)

    async def _revoke(self, live: Live) -> None:
        await self._tokens.revoke_agent(live.agent.agent_id, live.session)
        live.revoked = True

    def _background(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("watching agent %s failed", task.get_name(), exc_info=task.exception())


def _begin_attempt(agent: Agent) -> None:
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
