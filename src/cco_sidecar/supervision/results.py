"""Stores a result: the record, the event and the JSON file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import orjson

from cco_sidecar.bus.outbox import Outbox
from cco_sidecar.core import codec
from cco_sidecar.core.agent_types import AgentTypes
from cco_sidecar.core.announcements import of_result
from cco_sidecar.core.background import Background
from cco_sidecar.core.bounds import quota_filled, too_large
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, conflict
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.retry import Backoff
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.base import ResultStore, StoredResult
from cco_sidecar.storage.event_stores import Announcement
from cco_sidecar.storage.files import write_atomically
from cco_sidecar.supervision.learned import learned_from
from cco_sidecar.supervision.next_agents import next_agents
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry
from orchestra.v1.result_service_pb2 import NextAgent, Result

log = logging.getLogger(__name__)

MAX_RESULT_BYTES = 2 * 2**20


class Recorded(NamedTuple):
    """``event_id`` is empty if the event is not published yet. ``first`` is the result that a repeated call gets."""

    path: Path
    event_id: str = ""
    first: Result | None = None


class ResultRecorder:
    """Stores results and announces them.

    The record and the event are stored first, in one transaction. After a crash, the next start writes the file and
    publishes the event.
    """

    def __init__(self, store: ResultStore, outbox: Outbox, types: AgentTypes, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._rule = settings.knowledge_approve
        self._outbox = outbox
        self._types = types
        self._storage = settings.storage
        self._quota = settings.results_quota_mb * 2**20
        self._writing = Lock()
        self._written: dict[Path, int] = {}
        self._finishing = Background()
        self._retries = Background()

    async def record(self, result: Result, session: str = "", key: str = "", *, answer: bool = False) -> Recorded:
        """Stores a result. Runs to completion even if the caller is cancelled.

        ``session``: the run of the agent that stores it. ``key``: its idempotency key. ``answer``: it is made from what
        a program printed last, so nothing is learned from it. Raises SidecarError: REQ_004 for
        a result that is too large, RES_002 if the key was used for another result, STR_001 if nothing could be stored,
        STR_003 if the project's results fill its quota.
        """
        await self._check_size(result)
        learned = [] if answer else await self._learned(result)
        return await self._finishing.finish(self._record(result, session, key, learned))

    async def next_agents(self, result: Result) -> list[NextAgent]:
        """Suggests the next agents, from the issue's results before this one."""
        before = await self._store.outcomes(result.project_id, result.issue_id, before=result.id)
        return next_agents(self._types.next_agent_rules, self._types, result, before)

    async def is_unannounced(self, result: Result) -> bool:
        """Reports whether the result's event still waits to be published."""
        return await self._outbox.is_waiting(result.id)

    async def recover(self) -> None:
        """Writes the files that are missing after a crash. Must run before the outbox recovers. Raises SidecarError."""
        for announcement in await self._outbox.pending():
            event = announcement.event
            stored = await self._store.by_id(announcement.project, event.correlation_id)
            if stored is not None:
                await self._write_newest(stored.number, stored.result, announcement)

    async def close(self) -> None:
        """Waits for writes of results that are already stored. Pending retries are left to the next start."""
        await self._retries.end()
        await self._finishing.drain()

    async def _check_size(self, result: Result) -> None:
        size = result.ByteSize()
        if size > MAX_RESULT_BYTES:
            raise too_large("the result", size, MAX_RESULT_BYTES)
        stored = await self._store.stored_bytes(result.project_id)
        if stored + size > self._quota:
            raise quota_filled("results", result.project_id, stored, self._quota, "results.quota_mb")

    async def _learned(self, result: Result) -> Sequence[KnowledgeEntry]:
        # Agents control the texts, and all of them are searched for secrets.
        return await beside_the_loop(
            learned_from, result, self._rule, self._clock.timestamp(), size=result.result.ByteSize()
        )

    async def _record(self, result: Result, session: str, key: str, learned: Sequence[KnowledgeEntry]) -> Recorded:
        added = await self._store.add(result, session, of_result(result), key, learned)
        if isinstance(added, StoredResult):
            if _content(added.result) != _content(result):
                raise conflict(
                    "RES_002",
                    f"idempotency_key '{key}' was used for another result, {added.result.id}; use a new key for each "
                    "result, and the same one only to repeat it",
                    idempotency_key=key,
                )
            return Recorded(_path(added.result), first=added.result)
        await self._write_newest(added.number, result, added.announcement)
        return Recorded(_path(result), await self._outbox.publish(added.announcement))

    async def _write_newest(self, number: int, result: Result, announcement: Announcement) -> None:
        """Writes the file if this is the newest result of its issue and agent type. A failed write is retried, and the
        announcement is kept until it succeeds."""
        try:
            await self._write_unless_newer(number, result)
        except (OSError, ValueError, SidecarError) as problem:
            log.warning("result %s is stored, but its file could not be written yet: %s", result.id, problem)
            self._outbox.hold(announcement)
            self._retries.start(self._retry(number, result, announcement), f"writing the file of {result.id}")

    async def _retry(self, number: int, result: Result, announcement: Announcement) -> None:
        backoff = Backoff()
        while True:
            await asyncio.sleep(backoff.failed())
            try:
                await self._write_unless_newer(number, result)
            except (OSError, ValueError, SidecarError):
                continue
            await self._outbox.release(announcement)
            return

    async def _write_unless_newer(self, number: int, result: Result) -> None:
        newest = await self._store.newest(result.project_id, result.issue_id, result.agent_type)
        if newest is None or newest.number <= number:
            await asyncio.to_thread(self._write_file, number, result)

    def _write_file(self, number: int, result: Result) -> None:
        path = _path(result)
        text = orjson.dumps(codec.to_dict(result), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        # One at a time: the file holds the newest result, even if several are stored at once.
        with self._writing:
            if self._written.get(path, 0) < number:
                write_atomically(self._storage / path, text)
                self._written[path] = number


def _content(result: Result) -> tuple[str, str, bytes]:
    """Returns what the agent gave."""
    return result.agent_type, result.issue_id, result.result.SerializeToString(deterministic=True)


def _path(result: Result) -> Path:
    """Returns the documented path of a result's JSON file, relative to the storage directory."""
    return Path("results", result.project_id, result.issue_id, f"{result.agent_type}.json")
