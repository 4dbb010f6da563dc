"""Contexts: made from the repository as it is, cached, and never stale."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.bus.base import EventBus
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.codec import to_json
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import internal
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore
from cco_sidecar.core.lru import ByteLru
from cco_sidecar.core.metrics import CacheFigures
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.principal import SPAWN_AGENTS
from cco_sidecar.core.projects import Projects
from cco_sidecar.core.settings import Settings
from cco_sidecar.repository import metadata
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.snapshot import FileStat
from cco_sidecar.repository.watch import Queue
from cco_sidecar.services.context.outputs import Basis, Decision, PreviousOutputs
from cco_sidecar.services.context.worker import OWN_FIELDS, Made, Scanned, SnapshotGone, Wanted
from cco_sidecar.services.context.workers import WorkerLost, Workers
from cco_sidecar.storage.base import ResultStore
from orchestra.v1.context_service_pb2 import GetContextResponse

log = logging.getLogger(__name__)

T = TypeVar("T")
# Of the cache's size: the rest holds the texts of files, shared by all contexts.
_CONTEXT_SHARE = 0.75
# A repository that changes all the time is read so often, and then as it was.
_ATTEMPTS = 5


class Key(NamedTuple):
    project: str
    issue: str
    agent_type: str
    task: str
    requirements: tuple[str, ...] = ()
    # Of the agent that asks; None for the project's own directory.
    worktree: Path | None = None


class Cached(NamedTuple):
    """``wire``: a GetContextResponse without what belongs to one answer; ``memo``: what was derived from it."""

    wire: bytes
    memo: dict[str, Any]
    basis: tuple[bytes, Basis]


class Answer(NamedTuple):
    cached: Cached
    hit: bool


class Known(NamedTuple):
    """What is known of a project's directory: equal digests mean equal files and git state."""

    digest: bytes
    started: float
    reports: tuple[FileStat | None, ...]


class Project:
    """A project's directory. ``current`` returns a digest in which every change shows that was finished before."""

    def __init__(self, root: Path, workers: Workers, queue: Queue) -> None:
        self.root = root
        self._workers = workers
        self._queue = queue
        self._lock = asyncio.Lock()
        self._known: Known | None = None

    async def current(self, *, afresh: bool = False) -> bytes:
        """Raises OSError, GitFailed, WorkerLost."""
        asked = time.monotonic()
        if not afresh and (digest := self._unchanged()):
            return digest
        async with self._lock:
            # Another request's scan that began after this one asked has seen all that this one must.
            if self._known is not None and self._known.started >= asked:
                return self._known.digest
            if not afresh and (digest := self._unchanged()):
                return digest
            # Until the scan has ended whole nothing is known: not for a request that comes meanwhile, and not when it
            # fails.
            self._known = None
            scan = asyncio.ensure_future(self._scan(afresh=afresh))
            try:
                self._known = await asyncio.shield(scan)
            except asyncio.CancelledError:
                # The worker cannot be stopped: a caller that goes away waits for it, and the lock with it.
                await asyncio.wait({scan})
                raise
            return self._known.digest

    def forget(self) -> None:
        self._known = None

    async def _scan(self, *, afresh: bool) -> Known:
        started = time.monotonic()
        key = str(self.root)
        self._queue.begin(key)
        reports = metadata.report_stats(self.root, _stat)
        scanned: Scanned = await self._workers.call(self.root, "scan", self.root, afresh=afresh, keep=True)
        self._queue.finish(key, scanned.watched)
        return Known(scanned.digest, started, reports)

    def _unchanged(self) -> bytes | None:
        """The last digest when nothing has changed since."""
        if self._known is None or self._queue.changed(str(self.root)):
            return None
        same = self._known.reports == metadata.report_stats(self.root, _stat)
        return self._known.digest if same else None


class ContextService:
    """A cached context is used again only when the files, git and the issue's results are what they were."""

    def __init__(
        self,
        settings: Settings,
        projects: Projects,
        types: AgentTypes,
        store: ResultStore,
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
        self._workers = Workers(self._queue.descriptor, settings.storage, text_bytes, list(settings.projects.values()))
        self._outputs = PreviousOutputs(store, bus, self._merge)
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
    ) -> Answer:
        """``requirements``: names or patterns of files beyond the type's; ``worktree``: of the project, to be read in
        place of its directory. Raises SidecarError: AGT_002 unknown type, PRJ_001 unknown project, REQ_001 unknown
        requirement, CTX_001 unreadable project."""
        agent = self._types.known(agent_type)
        more = self._types.patterns_of(requirements)
        digest = hashlib.sha256(task.encode()).hexdigest() if task else ""
        key = Key(project, issue, agent.type, digest, tuple(sorted(requirements)), worktree)
        if more:
            agent = dataclasses.replace(agent, file_patterns=(*agent.file_patterns, *more))
        if worktree is not None:
            answer = await self._of_worktree(key, agent, worktree, task)
        else:
            answer = await self._look(key, agent, self._project(project), task)
        self._figures.looked_up(hit=answer.hit)
        return answer

    async def json_for_agent(
        self, project: str, issue: str, agent_type: str, task: str, requirements: Sequence[str], worktree: Path | None
    ) -> bytes:
        """The context as REST gives it, for a new agent."""
        answer = await self.get(project, issue, agent_type, task, requirements, worktree)
        whole = encoded(answer, self._clock.timestamp())
        return await beside_the_loop(to_json, whole, size=0 if "json" in whole.memo else len(whole.wire))

    async def _look(self, key: Key, agent: AgentType, project: Project, task: str) -> Answer:
        for attempt in range(_ATTEMPTS):
            digest = await self._read(project.root, project.current())
            made_from, outputs = await self._outputs.of(key.project, "" if _architect(agent) else key.issue)
            basis = (digest, made_from)
            cached = self._cache.get(key)
            if cached is not None and cached.basis == basis:
                return Answer(cached, True)
            try:
                return await self._make_once(key, agent, project.root, basis, outputs, task)
            except SnapshotGone:
                # The worker was started again, or the files changed before it came to this.
                project.forget()
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError

    async def _make_once(
        self, key: Key, agent: AgentType, root: Path, basis: tuple[bytes, Basis], outputs: list[bytes], task: str
    ) -> Answer:
        async with self._making.hold(key):
            # Others may have made it while this one waited.
            cached = self._cache.get(key)
            if cached is not None and cached.basis == basis:
                return Answer(cached, True)
            cached = await self._make(key, agent, root, basis, outputs, task)
            # The JSON and its compressed form, which are kept beside it, take about as much again.
            self._cache.put(key, cached, len(cached.wire) * 2 + 1024)
            self._figures.entries = len(self._cache)
            return Answer(cached, False)

    async def _make(
        self, key: Key, agent: AgentType, root: Path, basis: tuple[bytes, Basis], outputs: list[bytes], task: str
    ) -> Cached:
        wanted = Wanted(root, basis[0], key.issue, agent, _architect(agent), self._types.file_sets, task, outputs)
        made: Made = await self._read(root, self._workers.call(root, "make", wanted))
        return Cached(made.wire, {"json": made.json} if made.json is not None else {}, basis)

    async def _of_worktree(self, key: Key, agent: AgentType, worktree: Path, task: str) -> Answer:
        """Its agent asks for it now and then: the worktree is read each time and not watched."""
        async with self._reading.hold(worktree):
            try:
                scan = self._workers.call(worktree, "scan", worktree, afresh=True, keep=False)
                scanned: Scanned = await self._read(worktree, scan)
                made_from, outputs = await self._outputs.of(key.project, "" if _architect(agent) else key.issue)
                return await self._make_once(key, agent, worktree, (scanned.digest, made_from), outputs, task)
            except SnapshotGone as problem:
                # The worker was started again meanwhile.
                raise internal("CTX_001", "the worktree's files could not be read just now; ask again") from problem
            finally:
                self._workers.forget(worktree)

    async def _merge(self, results: Sequence[bytes], decisions: Sequence[Decision]) -> list[bytes]:
        root = self._settings.project_root
        merged: list[bytes] = await self._read(root, self._workers.call(root, "merge", results, decisions))
        return merged

    async def _read(self, root: Path, work: Awaitable[T]) -> T:
        """Raises SidecarError (CTX_001) for what the worker cannot read."""
        try:
            return await work
        except GitFailed as problem:
            log.warning("%s%s", problem, f": {problem.said}" if problem.said else "")
            raise internal("CTX_001", f"the project's repository cannot be read: {problem}") from problem
        except OSError as problem:
            raise internal("CTX_001", "the project's directory cannot be read; is it still there?") from problem
        except WorkerLost as problem:
            log.error("reading %s: %s", root, problem)
            raise internal("CTX_001", "the process that reads the project ended; the log says how") from problem

    async def refresh(self, project: str, issue: str, agent_type: str, *, force: bool) -> int:
        """Looks at the files again, and makes the contexts anew that were cached; returns how many."""
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
        """Drops cached contexts; ``project`` None and empty texts stand for all. Returns keys and bytes."""
        gone = self._cache.remove(
            lambda key: (
                not (project in (None, key.project) and issue in ("", key.issue) and agent_type in ("", key.agent_type))
            )
        )
        self._figures.entries = len(self._cache)
        return gone

    def close(self) -> None:
        self._workers.close()
        self._queue.close()

    def _project(self, project: str) -> Project:
        root = self._roots.root(project)
        found = self._projects.get(root)
        if found is None:
            found = self._projects[root] = Project(root, self._workers, self._queue)
        return found


def encoded(answer: Answer, now: Timestamp) -> Encoded:
    """An answer with what belongs to it alone."""
    tail = GetContextResponse(timestamp=now, cache_hit=answer.hit)
    return Encoded(GetContextResponse, answer.cached.wire, tail, OWN_FIELDS, answer.cached.memo)


def _architect(agent: AgentType) -> bool:
    return SPAWN_AGENTS in agent.permissions


def _stat(path: Path) -> FileStat | None:
    try:
        return FileStat.of(path.lstat())
    except OSError:
        return None
