"""Contexts: made from the repository as it is, cached, and never stale."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.bus.bus import EventBus
from cco_sidecar.context.build import build
from cco_sidecar.context.lru import ByteLru
from cco_sidecar.context.outputs import Basis, PreviousOutputs, files_of
from cco_sidecar.context.repository import Repository, Snapshot
from cco_sidecar.context.select import choose
from cco_sidecar.context.texts import Texts
from cco_sidecar.core.agent_types import AgentType, AgentTypes
from cco_sidecar.core.codec import json_head, to_json
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.errors import SidecarError, internal, not_found
from cco_sidecar.core.principal import SPAWN_AGENTS
from cco_sidecar.core.settings import Settings
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.storage.base import ResultStore
from orchestra.v1.context_service_pb2 import GetContextResponse, PreviousAgentOutput

# Of the cache's size: the rest holds the texts of files, shared by all contexts.
_CONTEXT_SHARE = 0.75
_LARGE_BYTES = 256 * 1024
# The fields of an answer that are not part of what is cached.
OWN_FIELDS = ("timestamp", "cache_hit")


class Key(NamedTuple):
    project: str
    issue: str
    agent_type: str
    task: str
    requirements: tuple[str, ...] = ()


class Cached(NamedTuple):
    """``wire``: a GetContextResponse without what belongs to one answer; ``memo``: what was derived from it."""

    wire: bytes
    memo: dict[str, Any]
    basis: tuple[bytes, Basis]


class Answer(NamedTuple):
    cached: Cached
    hit: bool


class ContextService:
    """A cached context is used again only when the files, git and the issue's results are what they were."""

    def __init__(self, settings: Settings, types: AgentTypes, store: ResultStore, bus: EventBus) -> None:
        self._settings = settings
        self._types = types
        self._outputs = PreviousOutputs(store, bus)
        size = settings.cache_size_mb * 2**20
        self._cache: ByteLru[Key, Cached] = ByteLru(int(size * _CONTEXT_SHARE))
        self._texts = Texts(int(size * (1 - _CONTEXT_SHARE)))
        self._repositories: dict[Path, Repository] = {}
        self._making: dict[Key, asyncio.Lock] = {}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="context")
        self._looked: Counter[bool] = Counter()

    async def get(
        self, project: str, issue: str, agent_type: str, task: str = "", requirements: Sequence[str] = ()
    ) -> Answer:
        """``requirements``: names or patterns of files beyond the type's. Raises SidecarError: AGT_002 unknown type,
        PRJ_001 unknown project, REQ_001 unknown requirement, CTX_001 unreadable project."""
        agent = self._types.known(agent_type)
        more = self._types.patterns_of(requirements)
        digest = hashlib.sha256(task.encode()).hexdigest() if task else ""
        key = Key(project, issue, agent.type, digest, tuple(sorted(requirements)))
        if more:
            agent = dataclasses.replace(agent, file_patterns=(*agent.file_patterns, *more))
        repository = self._repository(project)
        answer = await self._look(key, agent, repository, task)
        self._looked[answer.hit] += 1
        return answer

    async def as_json(self, answer: Answer, now: Timestamp) -> bytes:
        """An answer as REST gives it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, to_json, encoded(answer, now))

    async def _look(self, key: Key, agent: AgentType, repository: Repository, task: str) -> Answer:
        snapshot = await self._snapshot(repository)
        made_from, outputs = await self._outputs.of(key.project, "" if _architect(agent) else key.issue)
        basis = (snapshot.digest, made_from)
        cached = self._cache.get(key)
        if cached is not None and cached.basis == basis:
            return Answer(cached, True)
        lock = self._making.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                # Others may have made it while this one waited.
                cached = self._cache.get(key)
                if cached is not None and cached.basis == basis:
                    return Answer(cached, True)
                loop = asyncio.get_running_loop()
                wire = await loop.run_in_executor(self._pool, self._make, key, agent, snapshot, outputs, task)
                cached = Cached(wire, {}, basis)
                if len(wire) > _LARGE_BYTES:
                    # The JSON of a large context would hold the event loop for tens of milliseconds.
                    shared = Encoded(GetContextResponse, wire, None, OWN_FIELDS)
                    cached.memo["json"] = await loop.run_in_executor(self._pool, json_head, shared)
                # The JSON and its compressed form, which are kept beside it, take about as much again.
                self._cache.put(key, cached, len(wire) * 2 + 1024)
                return Answer(cached, False)
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    def _make(
        self, key: Key, agent: AgentType, snapshot: Snapshot, outputs: list[PreviousAgentOutput], task: str
    ) -> bytes:
        choices = choose(snapshot, agent, self._types, task, files_of(outputs))
        response = build(
            snapshot,
            choices,
            outputs,
            self._texts,
            issue=key.issue,
            agent_type=key.agent_type,
            architect=_architect(agent),
        )
        return response.SerializeToString(deterministic=True)

    async def _snapshot(self, repository: Repository, *, afresh: bool = False) -> Snapshot:
        try:
            return await repository.current(afresh=afresh)
        except GitFailed as problem:
            raise internal("CTX_001", f"the project's repository cannot be read: {problem}") from problem
        except OSError as problem:
            raise internal("CTX_001", "the project's directory cannot be read; is it still there?") from problem

    async def refresh(self, project: str, issue: str, agent_type: str, *, force: bool) -> int:
        """Looks at the files again, and makes the contexts anew that were cached; returns how many."""
        if force:
            self._texts.clear()
        await self._snapshot(self._repository(project), afresh=True)
        gone = self.clear(project, issue, agent_type)
        types = {agent_type} if agent_type else {key.agent_type for key, _ in gone}
        for each in sorted(types):
            await self.get(project, issue, each)
        return len(types)

    def clear(self, project: str | None, issue: str, agent_type: str = "") -> list[tuple[Key, int]]:
        """Drops cached contexts; ``project`` None and empty texts stand for all. Returns keys and bytes."""
        return self._cache.remove(
            lambda key: (
                not (project in (None, key.project) and issue in ("", key.issue) and agent_type in ("", key.agent_type))
            )
        )

    def cache_figures(self) -> tuple[int, float]:
        """Entries, and hits by all look-ups."""
        looked = self._looked.total()
        return len(self._cache), self._looked[True] / looked if looked else 0.0

    def close(self) -> None:
        self._pool.shutdown()
        for repository in self._repositories.values():
            repository.close()

    def _repository(self, project: str) -> Repository:
        root = self.root(project)
        repository = self._repositories.get(root)
        if repository is None:
            repository = self._repositories[root] = Repository(root, self._settings.storage)
        return repository

    def root(self, project: str) -> Path:
        """The project's directory. Raises SidecarError (PRJ_001)."""
        if not self._settings.projects or project == self._settings.default_project:
            return self._settings.projects.get(project, self._settings.project_root)
        root = self._settings.projects.get(project)
        if root is None:
            raise unknown_project(project)
        return root


def encoded(answer: Answer, now: Timestamp) -> Encoded:
    """An answer with what belongs to it alone."""
    tail = GetContextResponse(timestamp=now, cache_hit=answer.hit)
    return Encoded(GetContextResponse, answer.cached.wire, tail, OWN_FIELDS, answer.cached.memo)


def unknown_project(project: str) -> SidecarError:
    return not_found(
        "PRJ_001", f"there is no project '{project}'; 'projects' in the config names them", project_id=project
    )


def _architect(agent: AgentType) -> bool:
    return SPAWN_AGENTS in agent.permissions
