"""The agents' worktrees: made at the start, removed when their work is merged or discarded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from cco_sidecar.agents import worktree
from cco_sidecar.core.errors import SidecarError, conflict, not_found
from orchestra.v1.agent_service_pb2 import Agent

log = logging.getLogger(__name__)


class Worktrees:
    """``root(project)`` is the repository that a project's worktrees are of."""

    def __init__(self, storage: Path, root: Callable[[str], Path]) -> None:
        self._directory = storage / "worktrees"
        self._root = root
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, agent_id: str) -> asyncio.Lock:
        """Held while an agent's worktree is made or removed, so that none is removed under one that is resumed."""
        return self._locks.setdefault(agent_id, asyncio.Lock())

    def there_are(self) -> list[str]:
        """Ids of agents that have one."""
        return sorted(path.name for path in self._directory.glob("*/"))

    async def make(self, agent: Agent) -> Path:
        """Raises SidecarError (AGT_001)."""
        path = self._directory / agent.agent_id
        agent.branch, agent.worktree = worktree.branch_of(agent.agent_id), str(path)
        async with self.lock(agent.agent_id):
            root = self._root(agent.project_id)
            if worktree.is_half_made(path):
                await worktree.drop(root, path)
            # Also one that somebody has emptied.
            if not path.is_dir() or not any(path.iterdir()):
                await worktree.add(root, path, agent.branch)
        return path

    async def tidy(self, agent: Agent) -> bool:
        """Removes it when its work is merged; True when it did. The caller holds the lock, or the agent has just
        ended."""
        if not self._owns(agent):
            return False
        try:
            if await worktree.tidy(self._root(agent.project_id), Path(agent.worktree), agent.branch):
                agent.worktree = ""
                return True
        except SidecarError as problem:
            log.warning("the worktree of %s stays: %s", agent.agent_id, problem)
        return False

    async def discard(self, agent: Agent) -> None:
        """Removes it, merged or not. Raises SidecarError: AGT_006 where there is none, AGT_007 when git does not."""
        if not self._owns(agent):
            raise not_found("AGT_006", f"agent '{agent.agent_id}' has no worktree, or its work is merged")
        if not await worktree.remove(self._root(agent.project_id), Path(agent.worktree), agent.branch):
            raise conflict("AGT_007", f"git does not remove the worktree {agent.worktree}; remove it by hand")
        agent.worktree = ""

    def _owns(self, agent: Agent) -> bool:
        """That of a restored record belongs to whom it was copied from."""
        return bool(agent.worktree) and Path(agent.worktree).is_relative_to(self._directory)
