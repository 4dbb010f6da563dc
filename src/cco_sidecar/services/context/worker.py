"""The process that reads repositories and makes contexts, so that neither holds up the server's event loop.

It is told what to do over a socket, one call at a time, and ends when the other end is closed. Its arguments: the
socket's descriptor, the watch queue's, the storage, the size of the cache of texts, the directories of all projects.

Files, git and what agents wrote are met here: whatever they do to this process, the server goes on.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.codec import json_head
from cco_sidecar.core.encoded import Encoded
from cco_sidecar.ranking.selection import choose
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.snapshot import Scanner, Snapshot
from cco_sidecar.repository.watch import NO_QUEUE, Watched
from cco_sidecar.services.context import outputs
from cco_sidecar.services.context.build import build
from orchestra.v1.context_service_pb2 import GetContextResponse, PreviousAgentOutput

# The fields of an answer that are not part of what is cached.
OWN_FIELDS = ("timestamp", "cache_hit")
_LARGE_BYTES = 256 * 1024
_SNAPSHOTS = 16
_NICE = 5


class Scanned(NamedTuple):
    digest: bytes
    watched: Watched


class Wanted(NamedTuple):
    """A context: of the snapshot ``digest`` of ``root``. ``outputs`` are serialised PreviousAgentOutputs."""

    root: Path
    digest: bytes
    issue: str
    agent: AgentType
    architect: bool
    file_sets: Mapping[str, tuple[str, ...]]
    task: str
    outputs: Sequence[bytes]


class Made(NamedTuple):
    """``wire``: a GetContextResponse without OWN_FIELDS; ``json``: its JSON without them, for a large one."""

    wire: bytes
    json: bytes | None


class SnapshotGone(Exception):
    """The snapshot is not that of the digest: the worker was started again, or scanned since."""


class Worker:
    def __init__(self, queue: int, storage: Path, text_bytes: int, projects: Sequence[Path]) -> None:
        """``projects``: the directories of all projects, which see nothing of one another."""
        self._projects = projects
        self._queue = queue
        self._storage = storage
        self._texts = FileCache(text_bytes)
        self._scanners: dict[Path, Scanner] = {}
        self._snapshots: OrderedDict[Path, Snapshot] = OrderedDict()

    def scan(self, root: Path, *, afresh: bool, keep: bool) -> Scanned:
        """``keep``: it will be asked for again, and is watched. Raises OSError, GitFailed."""
        scanner = self._scanners.get(root) or self._scanner(root, self._queue if keep else NO_QUEUE)
        if keep:
            self._scanners[root] = scanner
        snapshot, watched = scanner.scan(afresh=afresh)
        self._snapshots[root] = snapshot
        self._snapshots.move_to_end(root)
        if len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return Scanned(snapshot.digest, watched)

    def _scanner(self, root: Path, queue: int) -> Scanner:
        related = [root, *root.parents]
        foreign = [each for each in self._projects if each not in related and not each.is_relative_to(root)]
        return Scanner(root, self._storage, queue, foreign)

    def make(self, wanted: Wanted) -> Made:
        """Raises SnapshotGone."""
        snapshot = self._snapshots.get(wanted.root)
        if snapshot is None or snapshot.digest != wanted.digest:
            raise SnapshotGone
        previous = [PreviousAgentOutput.FromString(each) for each in wanted.outputs]
        choices = choose(snapshot, wanted.agent, wanted.file_sets, wanted.task, outputs.files_of(previous))
        response = build(
            snapshot,
            choices,
            previous,
            self._texts,
            issue=wanted.issue,
            agent_type=wanted.agent.type,
            architect=wanted.architect,
        )
        wire = response.SerializeToString(deterministic=True)
        large = len(wire) > _LARGE_BYTES
        return Made(wire, json_head(Encoded(GetContextResponse, wire, None, OWN_FIELDS)) if large else None)

    def merge(self, results: Sequence[bytes], decisions: Sequence[outputs.Decision]) -> list[bytes]:
        """What agents wrote, searched for keys: serialised PreviousAgentOutputs."""
        return [each.SerializeToString() for each in outputs.merged(results, decisions)]

    def forget_texts(self) -> None:
        self._texts.clear()


def serve(connection: Connection, worker: Worker) -> None:
    """Answers (method, arguments, named) with (True, value) or (False, exception)."""
    while True:
        try:
            name, arguments, named = connection.recv()
        except EOFError:
            return
        act: Callable[..., Any] = getattr(worker, name)
        try:
            answer = (True, act(*arguments, **named))
        except Exception as problem:
            answer = (False, problem)
        connection.send(answer)


def main() -> None:
    socket, queue, storage, text_bytes, *projects = sys.argv[1:]
    # Whoever waits for a health check goes first.
    os.nice(_NICE)
    with Connection(int(socket)) as connection:
        serve(connection, Worker(int(queue), Path(storage), int(text_bytes), [Path(each) for each in projects]))
