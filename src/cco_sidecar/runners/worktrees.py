"""The agents' worktrees on this machine: created at the start, removed once their work is merged or discarded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from cco_sidecar.core.errors import SidecarError, conflict, not_found, spawn_failed
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore
from cco_sidecar.core.projects import Projects
from cco_sidecar.runners import worktree
from orchestra.v1.agent_service_pb2 import Agent

log = logging.getLogger(__name__)

MOST_TIPS = 200
# Runs a command as the agent, which can also see the given directory. Returns why it failed; empty if it succeeded.
Prepare = Callable[[list[str], Path], Awaitable[str]]


class Worktrees:
    """``prefix``: the beginning of the branches' names."""

    def __init__(self, storage: Path, projects: Projects, prefix: str) -> None:
        self._directory = storage / "worktrees"
        self._scratch = storage / "git"
        self._projects = projects
        self._root = projects.root
        self._prefix = prefix
        self._locks = KeyedSemaphore[str]()

    def lock(self, agent_id: str) -> AbstractAsyncContextManager[None]:
        """Held while an agent's worktree is created or removed, so that it is not removed while the agent is
        resumed."""
        return self._locks.hold(agent_id)

    def there_are(self) -> list[str]:
        """Returns the ids of the agents that have a worktree."""
        return sorted(path.name for path in self._directory.glob("*/"))

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
        return None if repository.commit_of(commit) else repository.tips(MOST_TIPS)

    def take(self, project: str, pack: bytes, commit: str) -> None:
        """Stores a commit that was missing. Blocking. Raises SidecarError."""
        self._repository(project).take(pack, commit)

    def note_start(self, agent: Agent, commit: str) -> None:
        """Notes what the agent's branch starts from, unless it is there already. Blocking. Raises SidecarError."""
        repository = self._repository(agent.project_id)
        if not repository.has_branch(agent.branch):
            repository.note_start(agent.branch, commit)

    def commits(self, agent: Agent, have: Sequence[str]) -> tuple[str, bytes]:
        """Returns the last commit of the agent's branch, and the pack that leads to it from ``have``. Blocking. Raises
        SidecarError."""
        repository = self._repository(agent.project_id)
        tip = repository.commit_of(f"refs/heads/{agent.branch}")
        return tip, repository.pack(tip, have) if tip and tip not in have else b""

    def _repository(self, project: str) -> worktree.Repository:
        """Blocking. Raises SidecarError."""
        return worktree.Repository(self._root(project), self._scratch)

    def has_branch(self, project: str, branch: str) -> bool:
        """Whether the branch still exists. Blocking."""
        return self._repository(project).has_branch(branch)

    async def changed_files(self, agent: Agent) -> dict[str, list[str]]:
        """Returns what the agent changed, by the letter of ``git diff``. Raises SidecarError."""
        if not self.owns(agent):
            return {}
        arguments = (self._root(agent.project_id), Path(agent.worktree), agent.branch, self._scratch)
        return await asyncio.to_thread(worktree.changed_files, *arguments)

    async def diff(self, agent: Agent, most: int) -> tuple[bytes, list[str]]:
        """Returns up to ``most`` bytes of the diff of the agent's worktree, and the files that git does not know; empty
        without a worktree. Raises SidecarError."""
        if not self.owns(agent):
            return b"", []
        root = self._root(agent.project_id)
        foreign = self._projects.foreign_to(root)
        arguments = (root, Path(agent.worktree), agent.branch, self._scratch, foreign, most)
        return await asyncio.to_thread(worktree.diff, *arguments)

    async def tidy(self, agent: Agent, merged: str = "") -> bool:
        """Removes the worktree if its work is merged, and returns whether it did. The caller holds the lock, or the
        agent has just ended. ``merged``: a commit that is merged elsewhere."""
        if not self.owns(agent):
            return False
        arguments = (self._root(agent.project_id), Path(agent.worktree), agent.branch, self._scratch)
        try:
            if await asyncio.to_thread(worktree.tidy, *arguments, merged):
                agent.worktree = ""
                return True
        except SidecarError as problem:
            log.warning("keeping the worktree of %s: %s", agent.agent_id, problem)
        return False

    async def discard(self, agent: Agent) -> None:
        """Removes the worktree, merged or not. Raises SidecarError: AGT_006 if there is none, AGT_007 if it cannot be
        removed."""
        if not self.owns(agent):
            raise not_found("AGT_006", f"agent '{agent.agent_id}' has no worktree, or its work is merged")
        arguments = (self._root(agent.project_id), Path(agent.worktree), agent.branch, self._scratch)
        if not await asyncio.to_thread(worktree.remove, *arguments):
            raise conflict("AGT_007", f"could not remove the worktree {agent.worktree}; remove it manually")
        agent.worktree = ""

    def owns(self, agent: Agent) -> bool:
        """Whether the worktree is in this storage. A restored record may name a worktree of the original one."""
        return bool(agent.worktree) and Path(agent.worktree).is_relative_to(self._directory)
