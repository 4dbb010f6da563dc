"""The process that reads repositories and builds contexts, so that neither blocks the server's event loop.

It executes one call at a time, received over a socket, and exits when the other end is closed. Arguments: the
descriptors of the socket and of the watch queue, the storage directory, the size of the file cache in bytes, and the
directories of all projects.

The process isolates the server from untrusted input: files, git and texts written by agents.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.budget import NO_BUDGET, Budget
from cco_sidecar.core.codec import json_head
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.core.lru import ByteLru
from cco_sidecar.core.projects import foreign_to
from cco_sidecar.core.settings import CONTEXT_CACHE
from cco_sidecar.ranking.selection import Choice, choose
from cco_sidecar.repository import masking
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.masking import CleanFiles
from cco_sidecar.repository.snapshot import FileStat, Scanner, Snapshot
from cco_sidecar.repository.watch import NO_QUEUE, Watched
from cco_sidecar.services.context import outputs
from cco_sidecar.services.context.build import build
from cco_sidecar.services.context.candidates import CandidateCache
from cco_sidecar.services.context.documents import KnownTexts, WithDocuments
from cco_sidecar.services.context.explain import explain
from cco_sidecar.services.context.files import read_files
from cco_sidecar.services.context.fitting import Fitted, fit
from cco_sidecar.services.context.focused import Focused, build_focused
from cco_sidecar.services.context.material import Material
from cco_sidecar.services.context.parts import Parts
from cco_sidecar.services.context.plan import Query, plan
from orchestra.v1.context_service_pb2 import GetContextResponse, PreviousAgentOutput
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry

# The fields of a response that are not part of what is cached.
OWN_FIELDS = ("timestamp", "cache_hit")
# Larger contexts are written as JSON here, not in the server's event loop.
_SMALL_BYTES = 32 * 1024
_SNAPSHOTS = 16
_NICE = 5
# Objects that are made, and collections of the younger ones, before the garbage collector looks at a generation.
_COLLECTED = (100_000, 20, 100)


class Scanned(NamedTuple):
    """A scan's result: the snapshot's digest; the directories that are watched, None if they are still the same; and
    files elsewhere that decide about those of the project, such as a global .gitignore."""

    digest: bytes
    watched: Watched | None
    outside: Mapping[Path, FileStat | None]


class Wanted(NamedTuple):
    """A context to build, from the snapshot ``digest`` of ``root``.

    ``budget``: none for whole files up to the limit.
    """

    root: Path
    digest: bytes
    issue: str
    agent: AgentType
    file_sets: Mapping[str, tuple[str, ...]]
    task: str
    material: Material
    budget: Budget = NO_BUDGET


class Made(NamedTuple):
    """``wire``: a GetContextResponse without OWN_FIELDS; ``json``: the same as JSON, unless it is small."""

    wire: bytes
    json: bytes | None


class SnapshotGone(Exception):
    """The requested snapshot does not exist any more: the worker was restarted, or has scanned again."""


class Worker:
    """Executes the calls that the server sends. Its methods are called by name."""

    def __init__(self, queue: int, storage: Path, text_bytes: int, projects: Sequence[Path]) -> None:
        """``projects``: the directories of all projects. One project's context never includes another's files."""
        self._projects = projects
        self._queue = queue
        self._storage = storage
        self._texts = FileCache(text_bytes // 2)
        self._candidates = CandidateCache(
            self._texts, text_bytes // 2, CleanFiles(storage / CONTEXT_CACHE / "clean-files")
        )
        self._documents: KnownTexts = ByteLru(text_bytes // 8)
        self._scanners: dict[Path, Scanner] = {}
        self._snapshots: OrderedDict[Path, Snapshot] = OrderedDict()

    def scan(self, root: Path, *, afresh: bool, keep: bool) -> Scanned:
        """Scans a directory. ``keep``: it will be requested again, so it is watched. Raises OSError, GitFailed."""
        scanner = self._scanners.get(root) or self._scanner(root, self._queue if keep else NO_QUEUE)
        if keep:
            self._scanners[root] = scanner
        snapshot, watched = scanner.scan(afresh=afresh)
        self._keep(root, snapshot)
        return Scanned(snapshot.digest, watched, scanner.outside)

    def update(self, root: Path, digest: bytes, changed: Collection[str]) -> Scanned:
        """Scans only some files, by path, if ``digest`` is what the last scan of the directory found. Raises OSError,
        GitFailed."""
        scanner, before = self._scanners.get(root), self._snapshots.get(root)
        if scanner is not None and before is not None and before.digest == digest:
            snapshot = scanner.update(before, changed)
            if snapshot is not None:
                self._keep(root, snapshot)
                return Scanned(snapshot.digest, None, scanner.outside)
        return self.scan(root, afresh=False, keep=True)

    def _keep(self, root: Path, snapshot: Snapshot) -> None:
        self._snapshots[root] = snapshot
        self._snapshots.move_to_end(root)
        if len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)

    def _scanner(self, root: Path, queue: int) -> Scanner:
        return Scanner(root, self._storage, queue, foreign_to(root, self._projects))

    def make(self, wanted: Wanted) -> Made:
        """Builds a context. Raises SnapshotGone."""
        parts = self._parts(wanted)
        if wanted.budget:
            response = self._fitted(wanted, parts).focused.response
        else:
            response = build(parts, issue=wanted.issue, agent=wanted.agent)
        wire = response.SerializeToString(deterministic=True)
        small = len(wire) <= _SMALL_BYTES
        return Made(wire, None if small else json_head(Encoded(GetContextResponse, wire, None, OWN_FIELDS)))

    def explain(self, wanted: Wanted, limit: int) -> bytes:
        """Returns a serialised ExplainContextResponse about a context within a budget. Raises SnapshotGone."""
        parts = self._parts(wanted)
        fitted = self._fitted(wanted, parts)
        return explain(parts.snapshot, fitted.focused, fitted.max_bytes, limit).SerializeToString()

    def _parts(self, wanted: Wanted) -> Parts:
        snapshot = self._current(wanted.root, wanted.digest)
        documents = WithDocuments(wanted.material.documents, self._texts, self._documents)
        previous = [PreviousAgentOutput.FromString(each) for each in wanted.material.outputs]
        choices = [*documents.choices, *_choices(wanted, snapshot, previous)]
        learned = [KnowledgeEntry.FromString(each) for each in wanted.material.knowledge]
        return Parts(snapshot.with_added(documents.stats), choices, previous, learned, documents)

    def _fitted(self, wanted: Wanted, parts: Parts) -> Fitted:
        candidates = parts.texts.among(self._candidates.of(self._current(wanted.root, wanted.digest)))
        # Those of architects are of all issues.
        findings = "" if wanted.agent.architect else outputs.findings_of(parts.outputs)
        query = Query(wanted.task, findings, wanted.agent.group)

        def build_within(max_bytes: int) -> Focused:
            planned = plan(parts.snapshot, parts.choices, candidates, query, max_bytes)
            return build_focused(parts, planned, issue=wanted.issue, agent=wanted.agent, max_bytes=max_bytes)

        return fit(wanted.budget, build_within)

    def files(
        self, root: Path, digest: bytes, paths: Sequence[str], lines: tuple[int, int | None] | None
    ) -> list[bytes]:
        """Returns serialised FileContents. Raises SnapshotGone, SidecarError."""
        return [each.SerializeToString() for each in read_files(self._current(root, digest), self._texts, paths, lines)]

    def _current(self, root: Path, digest: bytes) -> Snapshot:
        snapshot = self._snapshots.get(root)
        if snapshot is None or snapshot.digest != digest:
            raise SnapshotGone
        return snapshot

    def merge(
        self, results: Sequence[bytes], decisions: Sequence[bytes], elsewhere: outputs.Elsewhere, several: bool
    ) -> list[bytes]:
        """Returns serialised PreviousAgentOutputs with secrets masked."""
        return [
            each.SerializeToString(deterministic=True)
            for each in outputs.merged(results, decisions, elsewhere, several)
        ]

    def wake(self) -> None:
        """Prepares what the first context needs."""
        masking.mask("token")

    def prepare(self) -> bool:
        """Does a little of what the next call may need; False if there is nothing to do."""
        return self._candidates.mask_another()

    def forget_texts(self) -> None:
        """Drops all cached file contents."""
        self._texts.clear()
        self._candidates.clear()


def _choices(wanted: Wanted, snapshot: Snapshot, previous: Sequence[PreviousAgentOutput]) -> list[Choice]:
    # What architects decided on other issues says nothing about the files of this one.
    own = [each for each in previous if wanted.agent.architect or not each.HasField("issue_id")]
    return choose(snapshot, wanted.agent, wanted.file_sets, wanted.task, outputs.files_of(own))


def serve(connection: Connection, worker: Worker) -> None:
    """Answers each call (method, arguments, named) with (True, value) or (False, exception)."""
    while True:
        while not connection.poll() and worker.prepare():
            pass
        try:
            name, arguments, named = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        act: Callable[..., Any] = getattr(worker, name)
        try:
            answer = (True, act(*arguments, **named))
        except Exception as problem:
            answer = (False, problem)
        try:
            connection.send(answer)
        except BrokenPipeError:
            # The sidecar has ended; nobody waits for the answer.
            return


def main() -> None:
    socket, queue, storage, text_bytes, *projects = sys.argv[1:]
    # Lower priority than the server, so that health checks are answered promptly.
    os.nice(_NICE)
    # What is cached lives long, and has no cycles: collecting it takes a third of the time.
    gc.freeze()
    gc.set_threshold(*_COLLECTED)
    with Connection(int(socket)) as connection:
        serve(connection, Worker(int(queue), Path(storage), int(text_bytes), [Path(each) for each in projects]))
