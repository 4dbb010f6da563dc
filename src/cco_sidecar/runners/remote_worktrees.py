"""The worktrees of a sidecar's agents: those on its own machine, and those at runners."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from cco_sidecar.core.errors import SidecarError, spawn_failed
from cco_sidecar.core.projects import Projects
from cco_sidecar.runners.hub import Hub
from cco_sidecar.runners.remote_runner import lost
from cco_sidecar.runners.worktrees import MOST_TIPS, Worktrees
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent

log = logging.getLogger(__name__)

MAX_PACK_BYTES = 256 * 2**20
_PART_BYTES = 2 * 2**20
_PATIENCE_SECONDS = 30.0


class SidecarWorktrees(Worktrees):
    """About a worktree at a runner, the runner is asked. Then each method also raises RUN_004 if it is not
    connected."""

    def __init__(self, storage: Path, projects: Projects, prefix: str, hub: Hub) -> None:
        super().__init__(storage, projects, prefix)
        self._hub = hub

    def there_are(self) -> list[str]:
        """Returns the ids of the agents that have a worktree, here or at a runner that is connected."""
        usable = [remote for remote in self._hub.runners.values() if remote.usable]
        return sorted({*super().there_are(), *(agent_id for remote in usable for agent_id in remote.worktrees)})

    def begin(self, agent: Agent, reference: str) -> str:
        """Chooses the agent's branch, and returns the commit that it starts from at a runner: its last one if the
        branch is here, otherwise that of ``reference``. Blocking. Raises SidecarError."""
        repository = self._repository(agent.project_id)
        # Not the runner chooses: the branch comes here, where other names may be taken.
        agent.branch = agent.branch or self._branch(self._root(agent.project_id), agent.agent_id)
        tip = repository.commit_of(f"refs/heads/{agent.branch}")
        base = tip or repository.commit_of(reference)
        if not tip:
            repository.note_start(agent.branch, base)
        return base

    async def fetch(self, agent: Agent) -> None:
        """Brings the branch of an agent that ran at a runner here, so that others can start from it. What cannot be
        brought stays there."""
        if not (_is_away(agent) and agent.branch):
            return
        try:
            repository = await asyncio.to_thread(self._repository, agent.project_id)
            have = await asyncio.to_thread(repository.tips, MOST_TIPS)
            pack, size, tip = bytearray(), 1, ""
            while len(pack) < size:
                part = await self._ask(
                    *(agent, pb.WORKTREE_ACTION_READ_COMMITS, _PART_BYTES), have_commits=have, offset=len(pack)
                )
                size, tip = part.pack_bytes, part.tip_commit
                pack += part.pack
                whole = len(pack) == size
                if size > MAX_PACK_BYTES or not (whole or len(part.pack) == _PART_BYTES):
                    raise spawn_failed(f"the runner sent {len(part.pack)} of {size} bytes")
            if tip:
                await asyncio.to_thread(repository.advance, agent.branch, bytes(pack), tip)
        except SidecarError as problem:
            log.warning("the commits of %s stay at runner %s: %s", agent.agent_id, agent.runner_id, problem)

    async def changed_files(self, agent: Agent) -> dict[str, list[str]]:
        if not _is_away(agent):
            return await super().changed_files(agent)
        changes = (await self._ask(agent, pb.WORKTREE_ACTION_LIST_CHANGES)).changes
        return {"A": list(changes.added), "M": list(changes.modified), "D": list(changes.deleted)}

    async def diff(self, agent: Agent, most: int) -> tuple[bytes, list[str]]:
        if not _is_away(agent):
            return await super().diff(agent, most)
        answer = await self._ask(agent, pb.WORKTREE_ACTION_DIFF, most)
        return answer.diff[:most], list(answer.untracked_files)

    async def tidy(self, agent: Agent, merged: str = "") -> bool:
        if not _is_away(agent):
            return await super().tidy(agent, merged)
        try:
            repository = await asyncio.to_thread(self._repository, agent.project_id)
            tip = await asyncio.to_thread(repository.commit_of, f"refs/heads/{agent.branch}")
            is_merged = bool(tip) and await asyncio.to_thread(repository.is_merged, tip)
            merged = tip if is_merged else ""
            agent.worktree = (await self._ask(agent, pb.WORKTREE_ACTION_TIDY, merged_commit=merged)).worktree
            if not agent.worktree and is_merged:
                await asyncio.to_thread(repository.delete_branch, agent.branch)
        except SidecarError as problem:
            log.warning("keeping the worktree of %s: %s", agent.agent_id, problem)
        return not agent.worktree

    async def discard(self, agent: Agent) -> None:
        if not _is_away(agent):
            await super().discard(agent)
            return
        agent.worktree = (await self._ask(agent, pb.WORKTREE_ACTION_DISCARD)).worktree
        repository = await asyncio.to_thread(self._repository, agent.project_id)
        await asyncio.to_thread(repository.delete_branch, agent.branch)

    async def _ask(self, agent: Agent, action: pb.WorktreeAction, most: int = 0, **more: Any) -> pb.RunnerAnswer:
        """Raises SidecarError: RUN_004 if the runner that has the worktree is not connected."""
        remote = self._hub.runners.get(agent.runner_id)
        if remote is None or not remote.usable:
            raise lost(agent.runner_id)
        ask = pb.AskWorktree(agent=agent, action=action, max_bytes=most, **more)
        return await remote.ask(pb.AttendRunnerResponse(agent_id=agent.agent_id, worktree=ask), _PATIENCE_SECONDS)


def _is_away(agent: Agent) -> bool:
    return bool(agent.runner_id and agent.worktree)
