"""What a sidecar asks about the worktrees here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cco_sidecar.core.errors import conflict, not_found
from cco_sidecar.runners.worktrees import Worktrees
from orchestra.v1 import runner_service_pb2 as pb

_MOST_FILES = 2000
_REMOVING = frozenset({pb.WORKTREE_ACTION_TIDY, pb.WORKTREE_ACTION_DISCARD})


class WorktreeOrders:
    """``is_busy``: whether an agent runs here, for any sidecar."""

    def __init__(self, worktrees: Worktrees, is_busy: Callable[[str], bool]) -> None:
        self._worktrees = worktrees
        self._is_busy = is_busy
        # Commits that are being read, by agent.
        self._packs: dict[str, tuple[str, bytes]] = {}

    async def carry_out(self, asked: pb.AskWorktree) -> pb.RunnerAnswer:
        """Raises SidecarError."""
        agent, worktrees = asked.agent, self._worktrees
        if asked.action in _REMOVING and self._is_busy(agent.agent_id):
            raise conflict("AGT_005", f"agent '{agent.agent_id}' has not ended")
        match asked.action:
            case pb.WORKTREE_ACTION_TIDY:
                async with worktrees.lock(agent.agent_id):
                    await worktrees.tidy(agent, asked.merged_commit)
                return pb.RunnerAnswer(worktree=agent.worktree)
            case pb.WORKTREE_ACTION_LIST_CHANGES:
                found = await worktrees.changed_files(agent)
                added, modified, deleted = (found.get(letter, [])[:_MOST_FILES] for letter in "AMD")
                return pb.RunnerAnswer(changes=pb.ChangedFiles(added=added, modified=modified, deleted=deleted))
            case pb.WORKTREE_ACTION_DIFF:
                diff, untracked = await worktrees.diff(agent, asked.max_bytes)
                return pb.RunnerAnswer(diff=diff, untracked_files=untracked[:_MOST_FILES])
            case pb.WORKTREE_ACTION_DISCARD:
                async with worktrees.lock(agent.agent_id):
                    await worktrees.discard(agent)
                return pb.RunnerAnswer(worktree=agent.worktree)
            case pb.WORKTREE_ACTION_READ_COMMITS:
                return await asyncio.to_thread(self._commits, asked)
        raise not_found("RUN_005", f"this version of the runner does not know the action {asked.action}")

    def _commits(self, asked: pb.AskWorktree) -> pb.RunnerAnswer:
        """Returns a part of the commits of a branch; all parts are of the same pack. Raises SidecarError."""
        agent_id = asked.agent.agent_id
        if asked.offset == 0:
            # Not those that nobody asked for to their end.
            self._packs = {agent_id: self._worktrees.commits(asked.agent, asked.have_commits)}
        elif agent_id not in self._packs:
            raise conflict("RUN_005", "these commits are not read any more; begin again")
        tip, pack = self._packs[agent_id]
        part = pack[asked.offset : asked.offset + asked.max_bytes]
        if asked.offset + len(part) >= len(pack):
            del self._packs[agent_id]
        return pb.RunnerAnswer(tip_commit=tip, pack=part, pack_bytes=len(pack))
