"""The records of agents: what their lives write, saved in the store and announced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import announcements, codec
from cco_sidecar.core.clock import Clock, micros_of, timestamp
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.retry import Backoff
from cco_sidecar.core.tracing import Tracer
from cco_sidecar.runners.remote_worktrees import SidecarWorktrees
from cco_sidecar.storage.base import TAKEN_OVER, AgentStore
from cco_sidecar.supervision import agent_spans
from cco_sidecar.supervision.active import ActiveAgent
from cco_sidecar.supervision.agent_spans import AgentSpans
from cco_sidecar.supervision.final_result import FinalResults
from cco_sidecar.supervision.leases import Leases
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_COMPLETED,
    AGENT_STATUS_FAILED,
    AGENT_STATUS_STOPPED,
    Agent,
    AgentStatus,
)
from orchestra.v1.event_service_pb2 import Event

log = logging.getLogger(__name__)

_END_EVENTS = {
    AGENT_STATUS_COMPLETED: "agent_completed",
    AGENT_STATUS_FAILED: "agent_failed",
    AGENT_STATUS_STOPPED: "agent_stopped",
}
_EXIT_FIELDS = ("exit_code", "signal", "peak_memory_bytes", "cpu_seconds")


_DOUBT_SECONDS = 0.5


class Records:
    """Writes the records of active agents. What could not be saved is tried again until ``close``."""

    def __init__(
        self,
        store: AgentStore,
        outbox: Outbox,
        leases: Leases,
        worktrees: SidecarWorktrees,
        final_results: FinalResults,
        tracer: Tracer,
        clock: Clock,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._leases = leases
        self._worktrees = worktrees
        self._final_results = final_results
        self.spans = AgentSpans(tracer, clock)
        self._clock = clock
        self._closing = False

    def close(self) -> None:
        """Gives up what cannot be saved; the next sidecar reads it from the shim's file."""
        self._closing = True

    def write_life(self, active: ActiveAgent) -> None:
        """Copies the life into the record."""
        record, now = active.record, active.life
        if (record.status, record.reason) != (now.status, now.reason):
            self._set_status(record, now.status, now.reason)
        record.attempt = now.attempt
        record.max_attempts = now.max_attempts

    def set_place(self, active: ActiveAgent, runner_id: str) -> None:
        """Notes where the next attempt runs. Work at a machine that is gone is lost."""
        record = active.record
        if record.worktree and record.runner_id != runner_id:
            # Not the branch: its commits may be here.
            record.worktree = ""
        record.runner_id = runner_id

    async def note_result(self, active: ActiveAgent, result_id: str) -> None:
        """Records the result that an event names, if the agent has stored it; an event may name any."""
        if await self._final_results.is_of(active.record, result_id):
            active.record.result_id = result_id

    def write_failed_attempt(self, active: ActiveAgent) -> None:
        """Writes how the attempt ended and when the next one starts."""
        record = active.record
        _write_exit(record, active)
        record.ClearField("process_id")
        record.retry_at.CopyFrom(timestamp(self._clock.micros() + int(active.backoff_seconds() * 1e6)))
        active.lease.token = None

    async def save(self, active: ActiveAgent, event: Event | None) -> None:
        """Saves the record and announces the event, and retries until both are on disk."""
        await self._until_ours(active, partial(self._save, active.record, event))

    async def save_start(self, active: ActiveAgent, event: Event) -> None:
        """Saves the start. Callers that wait for it return after the first try: the agent runs even if the disk is
        full, and the next sidecar would still find it."""
        try:
            await self._save(active.record, event)
        except SidecarError as problem:
            log.warning("agent %s runs, but its record could not be saved yet: %s", active.agent_id, problem)
            active.set_begun()
            await self._until_ours(active, partial(self._save, active.record, event))
        else:
            active.set_begun()

    async def save_failed_attempt(self, active: ActiveAgent) -> None:
        """Saves the end of an attempt that another one follows, perhaps on another machine."""
        await self._worktrees.fetch(active.record)
        if await self._save_end(active, active.record) and active.attempt is not None:
            await asyncio.to_thread(active.attempt.run.clean)
        log.info("agent will be retried", extra=log_fields(active.record) | {"attempt": active.record.attempt})

    async def save_end(self, active: ActiveAgent) -> None:
        """Saves and announces the end of the agent."""
        if not active.lease.revoked:
            await self._leases.end(active.lease, active.agent_id)
        status = active.life.status
        attempt, found = active.attempt, ""
        end = attempt.exit if attempt is not None else None
        if end is not None:
            answer = active.usage.attempt.final if status == AGENT_STATUS_COMPLETED else ""
            with agent_spans.within(active.record):
                found = await self._final_results.find_or_store(active.record, active.lease.session, answer)
            active.record.result_id = found or active.record.result_id
        # Write to a copy, so that callers see the end only once it is complete.
        record = Agent()
        record.CopyFrom(active.record)
        _write_exit(record, active)
        record.ended_at.CopyFrom(record.ended_at if record.HasField("ended_at") else self._clock.timestamp())
        record.ClearField("retry_at")
        record.ClearField("process_id")
        self._set_status(record, status, active.life.reason)
        await self._worktrees.fetch(record)
        await self._worktrees.tidy(record)
        # Not the reason: it may contain text from the program.
        how = {"exit_code": end.exit_code, "signal": end.signal, "limit": end.limit} if end is not None else {}
        ended = codec.enum_name(AgentStatus.DESCRIPTOR, status)
        log.info("agent ended", extra=log_fields(record) | {"status": ended, "attempt": record.attempt} | how)
        announced = bool(found) and status == AGENT_STATUS_COMPLETED
        event = None if announced else announcements.of_agent(record, _END_EVENTS[status])
        saved = await self._save_end(active, record, event)
        self.spans.end(record)
        if saved and attempt is not None:
            # Only now: the shim's file keeps the exit code until the record has it.
            await asyncio.to_thread(attempt.run.clean)

    async def withdraw(self, agent: Agent) -> None:
        """Ends an agent whose record may be stored although its caller was told that the spawn failed."""

        async def end() -> None:
            stored = await self._store.by_id(agent.agent_id)
            if stored is not None:
                record = stored.agent
                self._set_status(record, AGENT_STATUS_FAILED, "its spawn was reported as failed")
                record.ended_at.CopyFrom(self._clock.timestamp())
                await self._save(record, announcements.of_agent(record, _END_EVENTS[AGENT_STATUS_FAILED]))

        await self._until_saved(agent.agent_id, end)

    async def restore(self, ended: Agent) -> None:
        """Saves the record of an ended agent again, after a resume that may be stored although it failed."""
        await self._until_saved(ended.agent_id, partial(self._save, ended, None))

    async def _save_end(self, active: ActiveAgent, record: Agent, event: Event | None = None) -> bool:
        """Saves the revocation of the tokens, then the record, and retries until both are on disk.

        Returns False if the sidecar closes first; the next one then reads the end from the shim's file. Also if another
        sidecar has taken the agent over.
        """

        async def save() -> None:
            await self._leases.save_end(active.lease, active.agent_id)
            await self._save(record, event)

        return await self._until_ours(active, save)

    async def _until_ours(self, active: ActiveAgent, save: Callable[[], Awaitable[None]]) -> bool:
        """Like ``_until_saved``; notes when another sidecar has taken the agent over."""
        saved = await self._until_saved(active.agent_id, save)
        active.taken_over = not saved and not self._closing
        return saved

    async def is_taken_over(self, active: ActiveAgent) -> bool:
        """Whether another sidecar has the agent; waits until that is known, or the sidecar closes."""
        backoff = Backoff()
        while not self._closing:
            if self._leases.in_doubt:
                await asyncio.sleep(_DOUBT_SECONDS)
                continue
            try:
                active.taken_over = await self._store.sidecar_of(active.agent_id) != active.record.sidecar_id
                break
            except SidecarError as problem:
                log.warning("cannot start agent %s yet: %s", active.agent_id, problem)
                await asyncio.sleep(backoff.failed())
        return active.taken_over

    async def _until_saved(self, agent_id: str, save: Callable[[], Awaitable[None]]) -> bool:
        backoff = Backoff()
        while True:
            try:
                await save()
                return True
            except SidecarError as problem:
                log.warning("could not save agent %s yet: %s", agent_id, problem)
                if problem.code == TAKEN_OVER:
                    return False
            if self._closing:
                return False
            await asyncio.sleep(backoff.failed())

    async def _save(self, record: Agent, event: Event | None) -> None:
        """Raises SidecarError (STR_001)."""
        announcement = await self._store.save(record, event)
        if announcement is not None:
            await self._outbox.publish(announcement)

    def _set_status(self, record: Agent, status: AgentStatus, reason: str) -> None:
        record.status = status
        record.reason = reason
        record.status_since.CopyFrom(self._clock.timestamp())


def clear_attempt(agent: Agent) -> None:
    """Removes the previous attempt's fields from the record."""
    for name in ("retry_at", "ended_at", *_EXIT_FIELDS, "progress"):
        agent.ClearField(name)
    del agent.last_output[:]


def log_fields(agent: Agent) -> dict[str, str]:
    """Returns the fields that identify an agent in a log line."""
    return {name: getattr(agent, name) for name in ("agent_id", "agent_type", "issue_id", "project_id")}


def _write_exit(record: Agent, active: ActiveAgent) -> None:
    if active.attempt is None or active.attempt.exit is None:
        return
    end = active.attempt.exit
    record.last_output[:] = active.attempt.last_lines
    for name in _EXIT_FIELDS:
        value = getattr(end, name)
        if value is not None:
            setattr(record, name, value)
    if end.ended_at is not None:
        # By another machine's clock, perhaps.
        ended = max(int(end.ended_at * 1e6), micros_of(record.started_at))
        record.ended_at.CopyFrom(timestamp(ended))
