"""Periodic maintenance: renew tokens, detect stuck agents, enforce limits, remove old logs, worktrees and orphans."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

from cco_sidecar.bus.base import EventBus
from cco_sidecar.core import security_log
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.metrics import Metrics
from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.orphans import Orphans
from cco_sidecar.runners.remote_worktrees import SidecarWorktrees
from cco_sidecar.storage.base import TAKEN_OVER, AgentStore
from cco_sidecar.supervision.active import ActiveAgent, Attempt
from cco_sidecar.supervision.leases import Leases
from cco_sidecar.supervision.life import ENDED_STATUSES
from cco_sidecar.supervision.supervisor import Supervisor

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
# Orphans are reaped once in so many intervals: each holds a process id, of which a container may have few.
_ORPHANS = 5
# Old logs and merged worktrees are removed once in so many intervals.
_RARELY = 60


class Maintenance:
    """Runs the periodic tasks on all active agents."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        leases: Leases,
        worktrees: SidecarWorktrees,
        hub: Hub,
        store: AgentStore,
        bus: EventBus,
        metrics: Metrics,
        clock: Clock,
        storage: Path,
        log_retention: int,
        shared: bool,
    ) -> None:
        """``log_retention``: how long the logs of ended agents are kept, in seconds; ``shared``: other sidecars show
        the agents too."""
        self._supervisor = supervisor
        self._leases = leases
        self._worktrees = worktrees
        self._hub = hub
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._storage = storage
        self._log_retention = log_retention
        self._shared = shared
        self._orphans = Orphans()
        # Runners may take their time.
        self._background = Background()
        self._tidying: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            await self._repeat()
        finally:
            await self._background.end()

    async def _repeat(self) -> None:
        intervals = 0
        while True:
            try:
                await self._check_agents()
                self._hub.look()
                if intervals % _RARELY == 0:
                    if self._tidying is None or self._tidying.done():
                        self._tidying = self._background.start(self.tidy_worktrees(), "worktrees")
                    await asyncio.to_thread(self._remove_old_logs)
                if intervals % _ORPHANS == 0:
                    await asyncio.to_thread(self._orphans.reap)
            except Exception:
                log.exception("maintenance failed")
            intervals += 1
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _check_agents(self) -> None:
        for active in list(self._supervisor.active.values()):
            attempt = active.attempt
            if not active.has_process or active.is_ending or attempt is None:
                continue
            try:
                if self._leases.needs_renewal(active.lease, active.record):
                    await asyncio.to_thread(self._leases.renew, active.lease, active.record, attempt.run)
                await asyncio.to_thread(_enforce_limits, active.agent_id, attempt)
                await active.read_reports()
                attempt.monitor.record_activity(self._last_activity(active.agent_id, attempt))
                await self._supervisor.observe(active)
                if self._shared:
                    await self._show(active)
            except (OSError, SidecarError) as problem:
                if isinstance(problem, SidecarError) and problem.code == TAKEN_OVER:
                    self._supervisor.abandon(active)
                log.warning("maintenance of agent %s failed: %s", active.agent_id, problem)

    async def _show(self, active: ActiveAgent) -> None:
        """Saves what has changed since the last time, such as progress and usage. Raises SidecarError."""
        now = active.record.SerializeToString(deterministic=True)
        if now != active.shown:
            async with active.in_order:
                if not active.is_ending:
                    await self._store.save(active.record)
            active.shown = now

    def _last_activity(self, agent_id: str, attempt: Attempt) -> float:
        """Returns the monotonic time of the agent's last call, open stream or line of output."""
        now = time.monotonic()
        if self._bus.has_reader(agent_id):
            return now
        last = self._metrics.last_call(agent_id) or 0.0
        with suppress(OSError):
            silent = time.time() - attempt.run.output.stat().st_mtime
            last = max(last, now - max(silent, 0.0))
        return last

    async def tidy_worktrees(self) -> None:
        """Removes the worktrees of ended agents whose work has been merged."""
        for agent_id in await asyncio.to_thread(self._worktrees.there_are):
            async with self._worktrees.lock(agent_id):
                if agent_id in self._supervisor.active:
                    continue
                stored = await self._store.by_id(agent_id)
                if stored is None or stored.agent.status not in ENDED_STATUSES:
                    continue
                if stored.agent.runner_id and stored.agent.sidecar_id != self._supervisor.sidecar_id:
                    # A runner tells every sidecar of it; the agent's own does that.
                    continue
                # What did not come when the agent ended.
                await self._worktrees.fetch(stored.agent)
                if not await self._worktrees.tidy(stored.agent):
                    continue
                # If the agent was resumed in the meantime, its record is newer.
                if agent_id not in self._supervisor.active:
                    with suppress(SidecarError):
                        await self._store.save(stored.agent)

    def _remove_old_logs(self) -> None:
        oldest = self._clock.seconds() - self._log_retention
        for directory in _directories(self._storage / "agents"):
            if directory.name in self._supervisor.active:
                continue
            with suppress(OSError):
                if max(path.stat().st_mtime for path in (directory, *directory.rglob("*"))) < oldest:
                    shutil.rmtree(directory)


def _enforce_limits(agent_id: str, attempt: Attempt) -> None:
    """Enforces the wall-time limit in case the shim was prevented from doing so. Blocks."""
    run, monitor = attempt.run, attempt.monitor
    if monitor.ended_for:
        return
    if run.wake():
        monitor.shim_was_stopped()
        security_log.record("shim_stopped", agent_id=agent_id, times=monitor.shim_stops)
    if monitor.must_end(time.monotonic()):
        # The tokens and all processes of the agent end with the shim.
        run.kill()


def _directories(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
