"""Manages the agents' worktrees: created at the start, removed once their work is merged or discarded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from cco_sidecar.core.errors import SidecarError, conflict, not_found, spawn_failed
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore
from cco_sidecar.core.projects import Projects
from cco_sidecar.runners import worktree
from cco_sidecar.runners.hub import Hub, lost
from orchestra.v1 import runner_service_pb2 as pb
from orchestra.v1.agent_service_pb2 import Agent

log = logging.getLogger(__name__)

MAX_PACK_BYTES = 256 * 2**20
_PART_BYTES = 2 * 2**20
_MOST_TIPS = 200
_PATIENCE_SECONDS = 30.0
# Runs a command as the agent, which can also see the given directory. Returns why it failed; empty if it succeeded.
Prepare = Callable[[list[str], Path], Awaitable[str]]


class Worktrees:
    """``prefix``: the beginning of the branches' names; ``hub``: the runners, which have worktrees of their own."""

    def __init__(self, storage: Path, projects: Projects, prefix: str, hub: Hub | None = None) -> None:
        self._directory = storage / "worktrees"
        self._scratch = storage / "git"
        self._projects = projects
        self._root = projects.root
        self._prefix = prefix
        self._hub = hub
        self._locks = KeyedSemaphore[str]()

    def lock(self, agent_id: str) -> AbstractAsyncContextManager[None]:
        """Held while an agent's worktree is created or removed, so that it is not removed while the agent is
        resumed."""
        return self._locks.hold(agent_id)

    def there_are(self) -> list[str]:
        """Returns the ids of the agents that have a worktree, here or at a runner that is connected."""
        stations = self._hub.stations.values() if self._hub is not None else ()
        away = {agent_id for station in stations if station.usable for agent_id in station.worktrees}
        return sorted(away.union(path.name for path in self._directory.glob("*/")))

    async def make(self, agent: Agent, base: str, prepare: Prepare) -> Path:
        """Creates the worktree from the commit or branch ``base``, or returns the existing one. Sets the agent's
        ``branch`` and ``worktree``. Raises SidecarError (AGT_001)."""
        path = self._directory / agent.agent_id
        async with self.lock(agent.agent_id):
            root = self._root(agent.project_id)
            if agent.worktree and not worktree.is_half_made(path) and path.is_dir() and any(path.iterdir()):
                return path
            kept = bool(agent.branch)
            branch = agent.branch or await asyncio.to_thread(self._branch, root, agent.agent_id)
            command = await asyncio.to_thread(worktree.command, root, path, branch, base, self._scratch)
            agent.branch, agent.worktree = branch, str(path)
            await asyncio.to_thread(worktree.begin, root, path, self._scratch)
            problem = await prepare(command, path)
            if problem:
                agent.worktree = ""
                if kept:
                    await asyncio.to_thread(worktree.drop, root, path, self._scratch)
                else:
                    # The branch is new and holds no work.
                    await asyncio.to_thread(worktree.remove, root, path, branch, self._scratch)
                    agent.branch = ""
                raise spawn_failed(f"could not create the agent's worktree: {problem}")
            await asyncio.to_thread(worktree.finish, path)
        return path

    def _branch(self, root: Path, agent_id: str) -> str:
        """Returns the name of a new branch. git allows no branch below the name of another (git-check-ref-format(1)),
        so '-' replaces '/' in the prefix if a branch has the name of its first component."""
        head = self._prefix.partition("/")[0]
        taken = "/" in self._prefix and worktree.Repository(root, self._scratch).has_branch(head)
        return (self._prefix.replace("/", "-") if taken else self._prefix) + agent_id

    def pack(self, project: str, wanted: str, have: Sequence[str]) -> bytes:
        """Returns a commit as a pack, see ``Repository.pack``. Blocking. Raises SidecarError."""
        return self._repository(project).pack(wanted, have)

    def missing(self, project: str, commit: str) -> list[str] | None:
        """Returns commits that are here if ``commit`` is not; None if it is. Blocking. Raises SidecarError."""
        repository = self._repository(project)
        return None if repository.commit_of(commit) else repository.tips(_MOST_TIPS)

    def take(self, project: str, pack: bytes, commit: str) -> None:
        """Stores a commit that was missing. Blocking. Raises SidecarError."""
        self._repository(project).take(pack, commit)

    def note_start(self, agent: Agent, commit: str) -> None:
        """Notes what the agent's branch starts from, unless it is there already. Blocking. Raises SidecarError."""
        repository = self._repository(agent.project_id)
        if not repository.has_branch(agent.branch):
            repository.note_start(agent.branch, commit)

    def begin_remotely(self, agent: Agent, reference: str) -> str:
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

    def commits(self, agent: Agent, have: Sequence[str]) -> tuple[str, bytes]:
        """Returns the last commit of the agent's branch, and the pack that leads to it from ``have``. Blocking. Raises
        SidecarError."""
        repository = self._repository(agent.project_id)
        tip = repository.commit_of(f"refs/heads/{agent.branch}")
        return tip, repository.pack(tip, have) if tip and tip not in have else b""

    async def fetch(self, agent: Agent) -> None:
        """Brings the branch of an agent that ran at a runner here, so that others can start from it. What cannot be
        brought stays there."""
        if not (agent.runner_id and agent.branch and agent.worktree):
            return
        try:
            repository = await asyncio.to_thread(self._repository, agent.project_id)
            have = await asyncio.to_thread(repository.tips, _MOST_TIPS)
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

    def _repository(self, project: str) -> worktree.Repository:
        """Blocking. Raises SidecarError."""
        return worktree.Repository(self._root(project), self._scratch)

    def has_branch(self, project: str, branch: str) -> bool:
        """Whether the branch still exists. Blocking."""
        return self._repository(project).has_branch(branch)

    async def changed_files(self, agent: Agent) -> dict[str, list[str]]:
        """Returns what the agent changed, by the letter of ``git diff``. Raises SidecarError."""
        if agent.runner_id and agent.worktree:
            changes = (await self._ask(agent, pb.WORKTREE_ACTION_LIST_CHANGES)).changes
            return {"A": list(changes.added), "M": list(changes.modified), "D": list(changes.deleted)}
        if not self._owns(agent):
            return {}
        arguments = (self._root(agent.project_id), Path(agent.worktree), agent.branch, self._scratch)
        return await asyncio.to_thread(worktree.changed_files, *arguments)

    async def diff(self, agent: Agent, most: int) -> tuple[bytes, list[str]]:
        """Returns up to ``most`` bytes of the diff of the agent's worktree, and the files that git does not know; empty
        without a worktree. Raises SidecarError."""
        if agent.runner_id and agent.worktree:
            answer = await self._ask(agent, pb.WORKTREE_ACTION_DIFF, most)
            return answer.diff[:most], list(answer.untracked_files)
        if not self._owns(agent):
            return b"", []
        root = self._root(agent.project_id)
        foreign = self._projects.foreign_to(root)
        arguments = (root, Path(agent.worktree), agent.branch, self._scratch, foreign, most)
        return await asyncio.to_thread(worktree.diff, *arguments)

    async def _ask(self, agent: Agent, action: pb.WorktreeAction, most: int = 0, **more: Any) -> pb.RunnerAnswer:
        """Raises SidecarError: RUN_004 if the runner that has the worktree is not connected."""
        station = self._hub.stations.get(agent.runner_id) if self._hub is not None else None
        if station is None or not station.usable:
            raise lost(agent.runner_id)
        ask = pb.AskWorktree(agent=agent, action=action, max_bytes=most, **more)
        return await station.ask(pb.AttendRunnerResponse(agent_id=agent.agent_id, worktree=ask), _PATIENCE_SECONDS)

    async def tidy(self, agent: Agent, merged: str = "") -> bool:
        """Removes the worktree if its work is merged, and returns whether it did. The caller holds the lock, or the
        agent has just ended. ``merged``: a commit that is merged elsewhere."""
        if agent.runner_id and agent.worktree:
            return await self._tidy_remotely(agent)
        if not self._owns(agent):
            return False
        arguments = (self._root(agent.project_id), Path(agent.worktree), agent.branch, self._scratch)
        try:
            if await asyncio.to_thread(worktree.tidy, *arguments, merged):
                agent.worktree = ""
                return True
        except SidecarError as problem:
            log.warning("keeping the worktree of %s: %s", agent.agent_id, problem)
        return False

    async def _tidy_remotely(self, agent: Agent) -> bool:
        try:
            repository = await asyncio.to_thread(self._repository, agent.project_id)
            tip = await asyncio.to_thread(repository.commit_of, f"refs/heads/{agent.branch}")
            is_merged = bool(tip) and await asyncio.to_thread(repository.is_merged, tip)
            merged = tip if is_merged else ""
            agent.worktree = (await self._ask(agent, pb.WORKTREE_ACTION_TIDY, merged_commit=merged)).worktree
            if not agent.worktree and tip:
                await asyncio.to_thread(repository.delete_branch, agent.branch)
        except SidecarError as problem:
            log.warning("keeping the worktree of %s: %s", agent.agent_id, problem)
        return not agent.worktree

    async def discard(self, agent: Agent) -> None:
        """Removes the worktree, merged or not. Raises SidecarError: AGT_006 if there is none, AGT_007 if it cannot be
        removed, RUN_004 if the runner that has it is not connected."""
        if agent.runner_id and agent.worktree:
            agent.worktree = (await self._ask(agent, pb.WORKTREE_ACTION_DISCARD)).worktree
            repository = await asyncio.to_thread(self._repository, agent.project_id)
            await asyncio.to_thread(repository.delete_branch, agent.branch)
            return
        if not self._owns(agent):
            raise not_found("AGT_006", f"agent '{agent.agent_id}' has no worktree, or its work is merged")
        arguments = (self._root(agent.project_id), Path(agent.worktree), agent.branch, self._scratch)
        if not await asyncio.to_thread(worktree.remove, *arguments):
            raise conflict("AGT_007", f"could not remove the worktree {agent.worktree}; remove it manually")
        agent.worktree = ""

    def _owns(self, agent: Agent) -> bool:
        """Whether the worktree is in this storage. A restored record may name a worktree of the original one."""
        return bool(agent.worktree) and Path(agent.worktree).is_relative_to(self._directory)
