"""Whether a project's directory has changed since it was scanned."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.repository import metadata
from cco_sidecar.repository.snapshot import FileStat
from cco_sidecar.repository.watch import Queue
from cco_sidecar.services.context.worker import Scanned
from cco_sidecar.services.context.workers import Workers


class Known(NamedTuple):
    """The scanned state of a project's directory. Equal digests mean equal files and git state."""

    digest: bytes
    started: float
    unwatched: tuple[FileStat | None, ...]


class Project:
    """A project's directory. ``current`` returns a digest that reflects every change completed before the call."""

    def __init__(self, root: Path, workers: Workers, queue: Queue) -> None:
        self.root = root
        self._workers = workers
        self._queue = queue
        self._lock = asyncio.Lock()
        self._known: Known | None = None

    async def current(self, *, afresh: bool = False) -> bytes:
        """Returns the digest of the directory, scanning it if it may have changed. Raises OSError, GitFailed,
        WorkerLost."""
        asked = time.monotonic()
        if not afresh and (digest := self._unchanged()):
            return digest
        async with self._lock:
            # A scan that began after this call covers everything that this call must see.
            if self._known is not None and self._known.started >= asked:
                return self._known.digest
            if not afresh and (digest := self._unchanged()):
                return digest
            # Nothing is known until the scan is complete: concurrent requests must not use the old state, nor may later
            # ones if the scan fails.
            known, self._known = self._known, None
            scan = asyncio.ensure_future(self._scan(None if afresh else known, afresh=afresh))
            try:
                self._known = await asyncio.shield(scan)
            except asyncio.CancelledError:
                # The worker cannot be interrupted: a cancelled caller waits for it and keeps the lock.
                await asyncio.wait({scan})
                raise
            return self._known.digest

    def forget(self) -> None:
        """Makes the next call scan the directory."""
        self._known = None

    async def _scan(self, known: Known | None, *, afresh: bool) -> Known:
        """Scans the files that have changed since ``known``, if they are known by path; else all."""
        started = time.monotonic()
        key = str(self.root)
        changed = self._queue.begin(key)
        unwatched = metadata.unwatched_stats(self.root, _stat)
        scanned: Scanned
        if known is not None and changed is not None and unwatched == known.unwatched:
            scanned = await self._workers.call(self.root, "update", self.root, known.digest, changed)
        else:
            scanned = await self._workers.call(self.root, "scan", self.root, afresh=afresh, keep=True)
        if scanned.watched is not None:
            self._queue.finish(key, scanned.watched)
        return Known(scanned.digest, started, unwatched)

    def _unchanged(self) -> bytes | None:
        """Returns the last digest if nothing has changed since; else None."""
        if self._known is None or self._queue.changed(str(self.root)):
            return None
        same = self._known.unwatched == metadata.unwatched_stats(self.root, _stat)
        return self._known.digest if same else None


def _stat(path: Path) -> FileStat | None:
    try:
        return FileStat.of(path.lstat())
    except OSError:
        return None
