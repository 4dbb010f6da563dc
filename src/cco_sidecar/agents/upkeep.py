"""What is looked at again and again: tokens that grow old, agents that fell silent, work that was merged."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from cco_sidecar.agents.announce import Announcer
from cco_sidecar.agents.identity import Identities
from cco_sidecar.agents.live import Live
from cco_sidecar.agents.supervisor import Supervisor
from cco_sidecar.agents.worktrees import Worktrees
from cco_sidecar.core import security_log
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.storage.base import AgentStore
from orchestra.v1.agent_service_pb2 import (
    AGENT_STATUS_NEEDS_INPUT,
    AGENT_STATUS_RUNNING,
    AGENT_STATUS_STUCK,
    AgentStatus,
)

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
_RARELY = 60
# A person who debugs may stop a keeper once or twice.
_MOST_STOPS = 5


class Upkeep:
    """``last_call(agent_id)``: the monotonic time of an agent's last call, None for none."""

    def __init__(
        self,
        supervisor: Supervisor,
        identities: Identities,
        worktrees: Worktrees,
        store: AgentStore,
        announcer: Announcer,
        clock: Clock,
        storage: Path,
        log_retention: int,
        last_call: Callable[[str], float | None],
    ) -> None:
        self._supervisor = supervisor
        self._identities = identities
        self._worktrees = worktrees
        self._store = store
        self._announcer = announcer
        self._clock = clock
        self._storage = storage
        self._log_retention = log_retention
        self._last_call = last_call

    async def run(self) -> None:
        looks = 0
        while True:
            try:
                await self.look()
                if looks % _RARELY == 0:
                    await self._rarely()
            except Exception:
                log.exception("looking after the agents failed")
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        for live in list(self._supervisor.live.values()):
            if not live.agent.HasField("process_id") or live.ending or live.stop_reason:
                continue
            try:
                await self._supervisor.save_late(live)
                if self._identities.needs_renewal(live):
                    await asyncio.to_thread(self._identities.renew, live)
                await asyncio.to_thread(self._hold_limits, live)
                await live.read_reports()
                await self._judge(live)
            except (OSError, SidecarError) as problem:
                log.warning("looking after agent %s: %s", live.agent.agent_id, problem)
        await self._announcer.retry()

    def _hold_limits(self, live: Live) -> None:
        """What the keeper does, for one that is kept from it: an agent that is not sandboxed can stop its own."""
        run = live.run
        if run is None or live.ended_for:
            return
        if run.wake():
            live.keeper_stops += 1
            security_log.record("keeper_stopped", agent_id=live.agent.agent_id, times=live.keeper_stops)
        if live.keeper_stops >= _MOST_STOPS:
            live.ended_for = "its keeper was stopped by a signal again and again"
        elif live.deadline is not None and time.monotonic() > live.deadline:
            live.ended_for = "limit: it ran beyond its wall time, and its keeper did not end it"
        if live.ended_for:
            # Its tokens and everything it started go with the keeper.
            run.kill()

    async def heard(self, live: Live) -> None:
        """The agent has just said something."""
        live.heard = time.monotonic()
        await self._judge(live)

    async def _judge(self, live: Live) -> None:
        status, reason = self._status(live)
        agent = live.agent
        if status == agent.status or live.ending or not agent.HasField("process_id"):
            return
        self._supervisor.set_status(agent, status, reason)
        async with live.saving:
            live.unsaved = live.unsaved or ("agent_stuck" if status == AGENT_STATUS_STUCK else "")
        await self._supervisor.save_late(live)

    def _status(self, live: Live) -> tuple[AgentStatus, str]:
        if live.waits_for_person:
            return AGENT_STATUS_NEEDS_INPUT, live.agent.progress.message or "waits for an approval"
        with suppress(psutil.Error):
            if psutil.Process(live.agent.process_id).status() == psutil.STATUS_STOPPED:
                return AGENT_STATUS_STUCK, "its process was stopped by a signal; SIGCONT lets it go on"
        silent = time.monotonic() - self._heard(live)
        most = live.runner.stuck_after_seconds or 0
        if most and silent > most:
            return AGENT_STATUS_STUCK, f"no call, heartbeat or output for {int(silent)} s"
        return AGENT_STATUS_RUNNING, f"attempt {live.agent.attempt}"

    def _heard(self, live: Live) -> float:
        """Monotonic time of its last call, heartbeat or line."""
        assert live.run is not None
        called = self._last_call(live.agent.agent_id)
        with suppress(OSError):
            silent = time.time() - live.run.output.stat().st_mtime
            live.heard = max(live.heard, time.monotonic() - max(silent, 0.0))
        return max(live.heard, called or 0.0)

    async def _rarely(self) -> None:
        await self.tidy_worktrees()
        await asyncio.to_thread(self._forget_old_logs)

    async def tidy_worktrees(self) -> None:
        """Worktrees whose branch was merged since."""
        for agent_id in await asyncio.to_thread(self._worktrees.there_are):
            async with self._worktrees.lock(agent_id):
                if agent_id in self._supervisor.live:
                    continue
                stored = await self._store.by_id(agent_id)
                if stored is None or not await self._worktrees.tidy(stored.agent):
                    continue
                # One that was resumed meanwhile has a record that is newer than this.
                if agent_id not in self._supervisor.live:
                    await self._store.save(stored.agent)

    def _forget_old_logs(self) -> None:
        oldest = self._clock.seconds() - self._log_retention
        for directory in _directories(self._storage / "agents"):
            if directory.name in self._supervisor.live:
                continue
            with suppress(OSError):
                if max(path.stat().st_mtime for path in (directory, *directory.rglob("*"))) < oldest:
                    shutil.rmtree(directory)


def _directories(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
