"""Builds contexts from the current state of the repository, and caches them without ever serving a stale one."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.bus.base import EventBus
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.budget import NO_BUDGET, Budget
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.codec import to_json
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import Kind, SidecarError, internal
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore
from cco_sidecar.core.lru import ByteLru
from cco_sidecar.core.metrics import CacheFigures
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.rules import RULES_FILE, RulesInvalid
from cco_sidecar.repository.watch import Queue
from cco_sidecar.runners.needs import AgentContext
from cco_sidecar.services.context.directory import Project
from cco_sidecar.services.context.documents import NamedDocuments
from cco_sidecar.services.context.markdown import markdown
from cco_sidecar.services.context.material import Found, Material, Materials
from cco_sidecar.services.context.outputs import Elsewhere, PreviousOutputs
from cco_sidecar.services.context.worker import OWN_FIELDS, Made, Scanned, SnapshotGone, Wanted
from cco_sidecar.services.context.workers import WorkerLost, Workers
from cco_sidecar.storage.base import Stores
from orchestra.v1.context_service_pb2 import ExplainContextResponse, GetContextResponse

log = logging.getLogger(__name__)

T = TypeVar("T")
# Share of the cache for contexts; the rest holds file contents, which all contexts share.
_CONTEXT_SHARE = 0.75
# How often a context is tried if the repository keeps changing or the worker is restarted; then the request fails.
_ATTEMPTS = 5
_CHANGING = "the project's files changed while they were read; try again"


class Key(NamedTuple):
    """Identifies a cached context. ``task`` is a digest."""

    project: str
    issue: str
    agent_type: str
    task: str
    requirements: tuple[str, ...] = ()
    # The worktree of the calling agent; None for the project's own directory.
    worktree: Path | None = None
    budget: Budget = NO_BUDGET


class Cached(NamedTuple):
    """``wire``: a GetContextResponse without the fields of a single response; ``memo``: values derived from it;
    ``basis``: what it was built from."""

    wire: bytes
    memo: dict[str, Any]
    basis: Hashable


class Answer(NamedTuple):
    """A context, and whether it came from the cache."""

    cached: Cached
    hit: bool


class ContextService:
    """Serves contexts. A cached one is reused only if the files, the git state and the issue's results are
    unchanged."""

    def __init__(
        self,
        settings: Settings,
        projects: Projects,
        types: AgentTypes,
        stores: Stores,
        bus: EventBus,
        clock: Clock,
        figures: CacheFigures,
    ) -> None:
        self._settings = settings
        self._roots = projects
        self._clock = clock
        self._figures = figures
        self._types = types
        size = settings.cache_size_mb * 2**20
        self._cache: ByteLru[Key, Cached] = ByteLru(int(size * _CONTEXT_SHARE))
        self._queue = Queue()
        text_bytes = int(size * (1 - _CONTEXT_SHARE))
        self._workers = Workers(
            self._queue.descriptor, settings.storage, text_bytes, list(settings.project_directories.values())
        )
        architects = [each.type for each in types.values() if each.architect] if settings.project_decisions else []
        outputs = PreviousOutputs(stores.results, bus, self._merge, architects)
        self._materials = Materials(outputs, NamedDocuments(stores.documents), stores.knowledge)
        self._projects: dict[Path, Project] = {}
        self._making = KeyedSemaphore[Key]()
        self._reading = KeyedSemaphore[Path]()

    async def get(
        self,
        project: str,
        issue: str,
        agent_type: str,
        task: str = "",
        requirements: Sequence[str] = (),
        worktree: Path | None = None,
        budget: Budget = NO_BUDGET,
    ) -> Answer:
        """Returns the context for an agent type and an issue.

        ``requirements``: names or patterns of files in addition to the type's; ``worktree``: a worktree of the project
        to read instead of its directory; ``budget``: that of the type if there is none; if that has none either, whole
        files up to the limit.

        Raises SidecarError: AGT_002 for an unknown type, PRJ_001 for an unknown project, REQ_001 for an unknown
        requirement, CTX_001 for an unreadable project, CTX_004 for invalid rules.
        """
        agent = self._types.require(agent_type)
        more = self._types.patterns_of(requirements)
        digest = hashlib.sha256(task.encode()).hexdigest() if task else ""
        key = Key(project, issue, agent.type, digest, tuple(sorted(requirements)), worktree, budget or agent.budget)
        if more:
            agent = dataclasses.replace(agent, file_patterns=(*agent.file_patterns, *more), required=more)
        if worktree is not None:
            answer = await self._of_worktree(key, agent, worktree, task)
        else:
            answer = await self._look(key, agent, self._project(project), task)
        self._figures.looked_up(hit=answer.hit)
        return answer

    async def files(
        self,
        project: str,
        agent_type: str,
        paths: Sequence[str],
        lines: tuple[int, int | None] | None,
        worktree: Path | None = None,
    ) -> list[bytes]:
        """Returns serialised FileContents of a project, or of a worktree of it.

        Raises SidecarError: AGT_002, PRJ_001, CTX_001 and CTX_004 as ``get``, CTX_003 for a path that no context has,
        REQ_001 for too much text.
        """
        self._types.require(agent_type)

        def read(root: Path, digest: bytes) -> Awaitable[list[bytes]]:
            return self._workers.call(root, "files", root, digest, paths, lines)

        return await self._of_snapshot(project, worktree, read)

    async def _of_snapshot(self, project: str, worktree: Path | None, work: Callable[[Path, bytes], Awaitable[T]]) -> T:
        """Does some work with the current snapshot of a project, or of a worktree of it. Raises SidecarError."""
        found = self._project(project)
        root = worktree or found.root
        for _ in range(_ATTEMPTS):
            try:
                if worktree is None:
                    return await self._read(root, work(root, await self._read(root, found.current())))
                async with self._reading.hold(worktree):
                    try:
                        return await self._read(root, work(root, await self._scanned(worktree)))
                    finally:
                        self._workers.forget(worktree)
            except SnapshotGone:
                # The worker was restarted, or the files changed in the meantime.
                found.forget()
        raise internal("CTX_001", _CHANGING)

    async def _scanned(self, worktree: Path) -> bytes:
        """Scans a worktree, and returns its digest. It is requested rarely, so it is not watched."""
        scan = self._workers.call(worktree, "scan", worktree, afresh=True, keep=False)
        scanned: Scanned = await self._read(worktree, scan)
        return scanned.digest

    async def for_agent(
        self, project: str, issue: str, agent_type: str, task: str, requirements: Sequence[str], worktree: Path | None
    ) -> AgentContext:
        """Returns the context of a new agent, within the budget of its type."""
        budget = self._spawned(self._types.require(agent_type))
        answer = await self.get(project, issue, agent_type, task, requirements, worktree, budget)
        whole = encoded(answer, self._clock.timestamp())
        size = 0 if "json" in whole.memo else len(whole.wire)
        text = await beside_the_loop(to_json, whole, size=size)
        wire = answer.cached.wire
        readable = await beside_the_loop(lambda: markdown(GetContextResponse.FromString(wire), task), size=len(wire))
        return AgentContext(text, readable)

    async def explain(
        self, project: str, issue: str, agent_type: str, task: str, worktree: Path | None, budget: Budget, limit: int
    ) -> ExplainContextResponse:
        """Returns why a context within a budget holds what it holds; the budget is that of a spawned agent if there is
        none. Raises SidecarError as ``get``."""
        agent = self._types.require(agent_type)
        found = await self._materials.find(project, issue, agent, task)
        material = await self._materials.read(project, task, found)

        def explain(root: Path, digest: bytes) -> Awaitable[bytes]:
            wanted = self._wanted(root, digest, issue, agent, task, material, budget or self._spawned(agent))
            return self._workers.call(root, "explain", wanted, limit)

        return ExplainContextResponse.FromString(await self._of_snapshot(project, worktree, explain))

    def _spawned(self, agent: AgentType) -> Budget:
        """Returns the budget of spawned agents of a type."""
        return agent.budget or Budget(self._settings.context_max_bytes)

    async def _look(self, key: Key, agent: AgentType, project: Project, task: str) -> Answer:
        for _ in range(_ATTEMPTS):
            digest = await self._read(project.root, project.current())
            found = await self._materials.find(key.project, key.issue, agent, task)
            basis = (digest, found.basis)
            cached = self._cache.get(key)
            if cached is not None and cached.basis == basis:
                return Answer(cached, True)
            try:
                return await self._make_once(key, agent, project.root, digest, found, task)
            except SnapshotGone:
                # The worker was restarted, or the files changed before it built the context.
                project.forget()
        raise internal("CTX_001", _CHANGING)

    async def _make_once(
        self, key: Key, agent: AgentType, root: Path, digest: bytes, found: Found, task: str
    ) -> Answer:
        basis = (digest, found.basis)
        async with self._making.hold(key):
            # Another caller may have built it while this one waited.
            cached = self._cache.get(key)
            if cached is not None and cached.basis == basis:
                return Answer(cached, True)
            cached = await self._make(key, agent, root, digest, found, task)
            # The memo holds the JSON and its compressed form, which take about as much again.
            self._cache.put(key, cached, len(cached.wire) * 2 + 1024)
            self._figures.entries = len(self._cache)
            return Answer(cached, False)

    async def _make(self, key: Key, agent: AgentType, root: Path, digest: bytes, found: Found, task: str) -> Cached:
        material = await self._materials.read(key.project, task, found)
        wanted = self._wanted(root, digest, key.issue, agent, task, material, key.budget)
        made: Made = await self._read(root, self._workers.call(root, "make", wanted))
        return Cached(made.wire, {"json": made.json} if made.json is not None else {}, (digest, found.basis))

    def _wanted(
        self,
        root: Path,
        digest: bytes,
        issue: str,
        agent: AgentType,
        task: str,
        material: Material,
        budget: Budget,
    ) -> Wanted:
        return Wanted(root, digest, issue, agent, self._types.file_sets, task, material, budget)

    async def _of_worktree(self, key: Key, agent: AgentType, worktree: Path, task: str) -> Answer:
        """Builds the context of a worktree, which is scanned each time."""
        async with self._reading.hold(worktree):
            try:
                digest = await self._scanned(worktree)
                found = await self._materials.find(key.project, key.issue, agent, task)
                return await self._make_once(key, agent, worktree, digest, found, task)
            except SnapshotGone as problem:
                # The worker was restarted in the meantime.
                raise internal("CTX_001", _CHANGING) from problem
            finally:
                self._workers.forget(worktree)

    async def _merge(
        self, project: str, results: Sequence[bytes], decisions: Sequence[bytes], elsewhere: Elsewhere, several: bool
    ) -> list[bytes]:
        root = self._project(project).root
        work = self._workers.call(root, "merge", results, decisions, elsewhere, several)
        merged: list[bytes] = await self._read(root, work)
        return merged

    async def _read(self, root: Path, work: Awaitable[T]) -> T:
        """Awaits work of the worker. Raises SidecarError: CTX_001 for an unreadable project, CTX_004 for its rules."""
        try:
            return await work
        except GitFailed as problem:
            log.warning("%s%s", problem, f": {problem.said}" if problem.said else "")
            raise internal("CTX_001", f"the project's repository cannot be read: {problem}") from problem
        except RulesInvalid as problem:
            text = f"{RULES_FILE}: {problem}"
            text += " " if text.endswith("?") else "; "
            raise SidecarError(Kind.CONFLICT, "CTX_004", f"{text}'cco context lint' checks it") from problem
        except OSError as problem:
            raise internal("CTX_001", "the project's directory cannot be read; check that it exists") from problem
        except WorkerLost as problem:
            log.error("reading %s: %s", root, problem)
            raise internal("CTX_001", "the process that reads the project ended; see the log") from problem

    async def refresh(self, project: str, issue: str, agent_type: str, *, force: bool) -> int:
        """Scans the files again, drops the cached contexts, and rebuilds one per agent type. ``force``: drops cached
        file contents too. Returns the number of agent types. Raises SidecarError."""
        found = self._project(project)
        if force:
            await self._read(found.root, self._workers.call(found.root, "forget_texts"))
        await self._read(found.root, found.current(afresh=True))
        gone = self.clear(project, issue, agent_type)
        types = {agent_type} if agent_type else {key.agent_type for key, _ in gone}
        for each in sorted(types):
            await self.get(project, issue, each)
        return len(types)

    def clear(self, project: str | None, issue: str, agent_type: str = "") -> list[tuple[Key, int]]:
        """Drops cached contexts and returns their keys and sizes in bytes. ``project`` None and empty strings match
        all."""
        gone = self._cache.remove(
            lambda key: (
                not (project in (None, key.project) and issue in ("", key.issue) and agent_type in ("", key.agent_type))
            )
        )
        self._figures.entries = len(self._cache)
        return gone

    def warm(self) -> None:
        """Starts the process that reads the default project, so that the first context does not wait for it."""
        self._workers.start(self._settings.project_root)

    def close(self) -> None:
        for project in self._projects.values():
            project.close()
        self._workers.close()
        self._queue.close()

    def _project(self, project: str) -> Project:
        root = self._roots.root(project)
        found = self._projects.get(root)
        if found is None:
            found = self._projects[root] = Project(root, self._workers, self._queue)
        return found


def encoded(answer: Answer, now: Timestamp) -> Encoded:
    """Combines a context with the fields of a single response."""
    tail = GetContextResponse(timestamp=now, cache_hit=answer.hit)
    return Encoded(GetContextResponse, answer.cached.wire, tail, OWN_FIELDS, answer.cached.memo)
