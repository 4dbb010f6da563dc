"""Whether a project's directory has changed since it was scanned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cco_sidecar.repository import metadata
from cco_sidecar.repository.rules import RulesInvalid
from cco_sidecar.repository.snapshot import FileStat, stat_of
from cco_sidecar.repository.watch import Queue
from cco_sidecar.services.context.worker import Scanned
from cco_sidecar.services.context.workers import WorkerLost, Workers

# Some changes are not reported, such as those through memory maps. When only files known by path were looked at for so
# long, all files are, once nobody has waited for a moment.
_SCANNED_SECONDS, _QUIET_SECONDS = 10.0, 0.5


class Known(NamedTuple):
    """The scanned state of a project's directory. Equal digests mean equal files and git state."""

    digest: bytes
    started: float
    # When the last scan of all files began.
    scanned: float
    unwatched: tuple[FileStat | None, ...]
    outside: Mapping[Path, FileStat | None]

    def is_of(self, unwatched: tuple[FileStat | None, ...]) -> bool:
        """Whether the files that are not watched are still as they were."""
        return self.unwatched == unwatched and all(
            stat_of(path, follow=True) == info for path, info in self.outside.items()
        )


class Project:
    """A project's directory. ``current`` returns a digest that reflects every change completed before the call."""

    def __init__(self, root: Path, workers: Workers, queue: Queue) -> None:
        self.root = root
        self._workers = workers
        self._queue = queue
        self._lock = asyncio.Lock()
        self._known: Known | None = None
        self._verifying: asyncio.Task[None] | None = None

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
            if self._known.started - self._known.scanned >= _SCANNED_SECONDS:
                self._verify()
            return self._known.digest

    def _verify(self) -> None:
        if self._verifying is None or self._verifying.done():
            self._verifying = asyncio.create_task(self._scan_all(), name="verification of a project")

    async def _scan_all(self) -> None:
        await asyncio.sleep(_QUIET_SECONDS)
        async with self._lock:
            self._known = None
            # The next call scans, and reports what is wrong.
            with suppress(OSError, RulesInvalid, WorkerLost):
                self._known = await self._scan(None, afresh=False)

    async def verified(self) -> None:
        """Waits until all files have been looked at, if that is due."""
        if self._verifying is not None:
            await self._verifying

    def close(self) -> None:
        if self._verifying is not None:
            self._verifying.cancel()

    def forget(self) -> None:
        """Makes the next call scan the directory."""
        self._known = None

    async def _scan(self, known: Known | None, *, afresh: bool) -> Known:
        """Scans the files that have changed since ``known``, if they are known by path; else all."""
        started = time.monotonic()
        key = str(self.root)
        changed = self._queue.begin(key)
        unwatched = metadata.unwatched_stats(self.root, stat_of)
        scanned: Scanned
        if known is not None and changed is not None and known.is_of(unwatched):
            scanned = await self._workers.call(self.root, "update", self.root, known.digest, changed)
        else:
            scanned = await self._workers.call(self.root, "scan", self.root, afresh=afresh, keep=True)
        self._queue.finish(key, scanned.watched)
        latest = known.scanned if known is not None and scanned.watched is None else started
        return Known(scanned.digest, started, latest, unwatched, scanned.outside)

    def _unchanged(self) -> bytes | None:
        """Returns the last digest if nothing has changed since; else None."""
        if self._known is None or self._queue.changed(str(self.root)):
            return None
        return self._known.digest if self._known.is_of(metadata.unwatched_stats(self.root, stat_of)) else None
