"""One attempt of an agent: its start, its process and its end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from pathlib import Path

import psutil

from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict, internal
from cco_sidecar.core.retry import Backoff
from cco_sidecar.runners import logs
from cco_sidecar.runners.launch import GRACE_SECONDS, Launcher, resumes, timeout_of
from cco_sidecar.runners.outcome import outcome
from cco_sidecar.runners.remote import RemoteRun
from cco_sidecar.runners.remote_runner import NOT_STARTED
from cco_sidecar.runners.run import Exit, Run
from cco_sidecar.runners.usage import UsageReader
from cco_sidecar.supervision import life
from cco_sidecar.supervision.active import ActiveAgent, Attempt
from cco_sidecar.supervision.leases import Leases
from cco_sidecar.supervision.monitor import Monitor
from cco_sidecar.supervision.records import clear_attempt, log_fields
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_FAILED

log = logging.getLogger(__name__)

LAST_LINES = 20
# Seconds after the grace period before a shim that does not respond is killed.
_SHIM_RESPONSE_SECONDS = 3.0
# Seconds after the wall-time limit that the shim has before the sidecar ends the agent itself.
_SLACK_SECONDS = 10.0


class Attempts:
    """Starts attempts, waits for their end and stops them. What happened is returned as an input of the life."""

    def __init__(self, launcher: Launcher, leases: Leases, clock: Clock) -> None:
        self._launcher = launcher
        self._leases = leases
        self._clock = clock

    async def launch(self, active: ActiveAgent) -> life.Started | life.StartFailed | life.NoSlot:
        """Starts the next attempt in its working directory, under a shim."""
        try:
            await self._begin(active)
        except SidecarError as problem:
            return await self._take_back(active) if problem.code == NOT_STARTED else _start_failed(active, problem)
        except OSError as problem:
            return _start_failed(active, internal("AGT_001", f"the agent could not be started: {problem.strerror}"))
        except Exception as problem:
            log.exception("could not start agent %s", active.agent_id)
            return _start_failed(active, internal("AGT_001", f"internal error: {type(problem).__name__}"))
        return life.Started()

    async def _take_back(self, active: ActiveAgent) -> life.NoSlot | life.StartFailed:
        """Undoes the beginning of an attempt that is to begin later."""
        if active.attempt is not None:
            # First: the next process would take it for begun.
            await asyncio.to_thread(active.attempt.run.remove)
        await self._leases.end(active.lease, active.agent_id)
        active.attempt = active.lease.token = None
        if not active.record.worktree:
            active.record.runner_id = ""
        if active.life.stop_reason:
            return _start_failed(active, _stopped(active))
        active.wait_again()
        return life.NoSlot()

    async def _begin(self, active: ActiveAgent) -> None:
        agent = active.record
        clear_attempt(agent)
        active.attempt = None
        run = self._launcher.run_of(agent)
        started = self._clock.timestamp()
        await asyncio.to_thread(run.prepare)
        if active.life.stop_reason:
            # The tokens are already revoked: create no new one.
            raise _stopped(active)
        token = self._leases.begin(active.lease, agent)
        active.attempt = Attempt(run, Monitor(stuck_after=active.runner.stuck_after_seconds or 0))
        resuming = resumes(active.runner, agent)
        if not resuming:
            agent.usage.session_id = str(uuid.uuid4()) if active.runner.sessions else ""
        pid = await self._launcher.spawn(agent, active.request, active.runner, run, token.token, resuming=resuming)
        active.usage.set_session(agent.usage.session_id)
        watch_attempt(active, active.attempt, spent=0.0)
        if pid:
            agent.process_id = pid
        agent.started_at.CopyFrom(started)
        log.info("agent started", extra=log_fields(agent) | {"pid": pid, "attempt": agent.attempt})

    async def watch(self, active: ActiveAgent) -> life.Exited:
        """Waits for the end of the attempt, and judges it."""
        attempt = active.attempt
        assert attempt is not None
        attempt.exit = await _exit_of(attempt.run)
        if isinstance(attempt.run, RemoteRun):
            active.record.worktree = active.record.worktree or attempt.run.worktree
            attempt.monitor.ended_for = attempt.monitor.ended_for or attempt.run.unknown_for
        try:
            return await self._judge_exit(active, attempt, attempt.exit)
        except Exception as problem:
            log.exception("could not process the end of agent %s", active.agent_id)
            return life.Exited(AGENT_STATUS_FAILED, f"internal error: {type(problem).__name__}", retryable=False)

    async def _judge_exit(self, active: ActiveAgent, attempt: Attempt, end: Exit) -> life.Exited:
        await self._leases.end(active.lease, active.agent_id)
        await active.read_reports()
        attempt.last_lines = await asyncio.to_thread(logs.last_lines, attempt.run.output, LAST_LINES)
        status, reason = outcome(
            end,
            attempt.last_lines,
            stop_reason=active.life.stop_reason,
            reported=active.usage.attempt.error,
            ended_for=attempt.monitor.ended_for,
            open_files=active.runner.limits.open_files,
        )
        return life.Exited(status, reason, f"{reason}; next attempt in {active.backoff_seconds():g} s")

    async def stop(self, active: ActiveAgent) -> None:
        """Asks the shim to end the process, and revokes the tokens without waiting for the end. A preparation in
        progress, such as that of the worktree, is ended too."""
        grace = active.grace
        if active.attempt is not None:
            active.attempt.run.stop(grace)
        await asyncio.gather(self._leases.end(active.lease, active.agent_id), asyncio.wait({active.begun}))
        if active.attempt is None:
            return
        active.attempt.run.stop(grace)
        try:
            await asyncio.wait_for(active.ended.wait(), grace + _SHIM_RESPONSE_SECONDS)
        except TimeoutError:
            active.attempt.run.kill()

    async def read_earlier(self, active: ActiveAgent, last: int) -> None:
        """Reads the usage of the attempts up to ``last`` from their output, or from the record if an output is
        missing."""
        outputs = [self._launcher.run_at(active.record, attempt).output for attempt in range(1, last + 1)]
        await asyncio.to_thread(_read_outputs, active, outputs)


def watch_attempt(active: ActiveAgent, attempt: Attempt, *, spent: float) -> None:
    """Prepares to read the output of an attempt from its start. ``spent``: seconds that it has already run."""
    record = active.record
    if resumes(active.runner, record):
        active.usage.attempt = UsageReader(record.usage.session_id)
    active.usage.reader = logs.LogReader(attempt.run.output)
    now = time.monotonic()
    attempt.monitor.record_activity(now)
    most = timeout_of(active.request, active.runner)
    attempt.monitor.deadline = now + most - spent + GRACE_SECONDS + _SLACK_SECONDS if most else None


def _read_outputs(active: ActiveAgent, outputs: list[Path]) -> None:
    record, usage = active.record, active.usage
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


async def _exit_of(run: Run) -> Exit:
    backoff = Backoff()
    while True:
        try:
            return await run.ended()
        except (OSError, psutil.Error) as problem:
            # For example, no descriptor is free.
            log.warning("cannot check the run %s, retrying: %s", run.directory, problem)
            await asyncio.sleep(backoff.failed())


def _stopped(active: ActiveAgent) -> SidecarError:
    return conflict("AGT_005", f"agent '{active.agent_id}' was stopped before it started: {active.life.stop_reason}")


def _start_failed(active: ActiveAgent, problem: SidecarError) -> life.StartFailed:
    if not active.begun.done():
        active.begun.set_exception(problem)
        # Retrieve the exception; nobody may be waiting for a queued agent.
        active.begun.exception()
    return life.StartFailed(problem.message)
