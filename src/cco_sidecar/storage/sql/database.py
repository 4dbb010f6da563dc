"""The SQL database: one connection, one thread, group commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import alembic.util
import sqlalchemy as sa

from cco_sidecar.core.errors import Kind, OutcomeUnknown, SettingsError, SidecarError, internal, invalid_request
from cco_sidecar.storage.sql.base import Backend, Claim, Claimed
from cco_sidecar.storage.sql.checksums import DamagedRecord
from cco_sidecar.storage.sql.migrating import migrate

log = logging.getLogger(__name__)

T = TypeVar("T")
_MAX_AT_ONCE = 64
_PROBE_SECONDS = 0.02
# A probe without an answer for so long means that the database hangs.
_HANGING_SECONDS = 3.0
_CLAIM_CHECK_SECONDS = 2.0
# After a conflict with another process, such as a deadlock: how often a change is made again, and the pause before it.
_MOST_AGAIN = 5
_PAUSE_SECONDS = 0.05
_CHECK_FIRST_SECONDS = 1.0
# What reading raises for rows that changed on the disk; the driver, for an error that quotes names of columns.
_DAMAGED = (DamagedRecord, UnicodeDecodeError)
_UNUSABLE = (sa.exc.DBAPIError, *_DAMAGED)
# Statements that read pages of the main tables.
_PROBES = tuple(
    f"SELECT number FROM {table} ORDER BY number DESC LIMIT 1" for table in ("results", "agents", "approvals")
)


class _CommitFailed(Exception):
    """The connection was lost during a commit, so the changes may be stored or not."""


class _Request(NamedTuple):
    """Queued work. ``done`` is called with its result or its exception."""

    work: Callable[[sa.Connection], Any]
    done: Callable[[Any, BaseException | None], None]


class Connected(Protocol):
    """What stores need of a database."""

    @property
    def insert(self) -> Callable[[sa.Table], Any]: ...

    @property
    def read(self) -> Callable[[Callable[[sa.Connection], T]], Awaitable[T]]: ...

    @property
    def write(self) -> Callable[[Callable[[sa.Connection], T]], Awaitable[T]]: ...


class Database:
    """Serves requests in order, on one thread with one connection; searches on another. Thread-safe.

    All waiting requests run in one transaction (group commit), because the disk sync of a commit costs more than the
    work. If one fails, each is run again in its own transaction, so that one failure does not affect the others.
    Work may therefore run twice; the first attempt is rolled back. If the connection is lost during a commit, its
    outcome is unknown: all of its requests fail.
    """

    def __init__(
        self, backend: Backend, *, exclusive: bool = False, shared: bool = False, sidecar_id: str = ""
    ) -> None:
        """Opens and migrates the database. ``exclusive``: only if no other sidecar uses it; ``shared``: only if no
        other has it for itself; ``sidecar_id``: who makes the changes. Raises SettingsError."""
        self._backend = backend
        self.shared = backend.shared
        self.insert = backend.insert
        self._engine = backend.engine().execution_options(sidecar_id=sidecar_id)
        self._sharing = shared
        self._claim = backend.claim(shared=shared) if exclusive or shared else Claim()
        # Another sidecar has taken the database over.
        self._taken = ""
        self._damage = ""
        # The last probe failed.
        self._failing = False
        self._probing: asyncio.Future[None] | None = None
        self._probed = 0.0
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        # Searches, which may take seconds; with a thread and a connection of their own from the first one on.
        self._searches: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._searching: threading.Thread | None = None
        try:
            self._migrate()
        except (*_UNUSABLE, alembic.util.CommandError) as problem:
            self._engine.dispose()
            self._claim.release()
            raise backend.unusable(problem) from problem
        serving = (self._requests, self._engine, _MAX_AT_ONCE)
        self._thread = threading.Thread(target=self._serve, args=serving, name="database", daemon=True)
        self._thread.start()
        checking = threading.Thread(target=self._check_integrity, name="integrity", daemon=True)
        checking.start()
        # A small database is known to be sound before it is used; a large one is checked meanwhile.
        checking.join(_CHECK_FIRST_SECONDS)

    async def keep_claim(self) -> None:
        """Takes the claim again if it is lost, for example because the server was restarted. While another sidecar has
        it, nothing is written. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_CLAIM_CHECK_SECONDS)
            if await asyncio.to_thread(self._claim.is_held):
                continue
            await asyncio.to_thread(self._claim.release)
            try:
                self._claim = await asyncio.to_thread(partial(self._backend.claim, shared=self._sharing))
                self._taken = ""
            except Claimed as problem:
                self._taken = str(problem)
                log.error("the database was taken over, nothing is written: %s", problem)
            except SettingsError as problem:
                log.warning("cannot claim the database yet: %s", problem)

    async def problem(self) -> str:
        """Describes what is wrong with the database; empty if nothing is known.

        Starts a probe and waits for it at most 20 ms, so that the caller is not held up by other work. Once reported,
        damage is reported until the process restarts.
        """
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(self._probe())
            self._probed = time.monotonic()
        await asyncio.wait({self._probing}, timeout=_PROBE_SECONDS)
        if self._damage:
            return f"the database is damaged: {self._damage}"
        if self._taken:
            return self._taken
        hangs = not self._probing.done() and time.monotonic() - self._probed > _HANGING_SECONDS
        return "the database does not answer" if self._failing or hangs else ""

    async def _probe(self) -> None:
        try:
            await self.read(lambda connection: [connection.exec_driver_sql(query).first() for query in _PROBES])
        except SidecarError:
            self._failing = True
        else:
            self._failing = False

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs ``work`` on the database thread and returns its result. Raises SidecarError (STR_002, or REQ_001 for a
        text that the database cannot compare)."""
        return await self._read(work, self._requests)

    async def search(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs ``work``, which changes nothing, beside all other work, and sees what was committed before. Raises
        SidecarError as ``read``."""
        if self._searching is None:
            serving = (self._searches, self._backend.engine(reads=True), 1)
            self._searching = threading.Thread(target=self._serve, args=serving, name="searches", daemon=True)
            self._searching.start()
        return await self._read(work, self._searches)

    async def _read(self, work: Callable[[sa.Connection], T], requests: queue.SimpleQueue[_Request | None]) -> T:
        try:
            return await self._ask(work, requests)
        except (sa.exc.DBAPIError, _CommitFailed) as problem:
            _refuse_nul(problem)
            raise internal("STR_002", "cannot read the database; retry") from problem
        except _DAMAGED as problem:
            raise internal("STR_002", f"the database is damaged: {problem}; restore it from a backup") from problem

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs a change; it is committed when this returns. Raises SidecarError (STR_001, or REQ_001 for a text that
        the database cannot store)."""
        if self._taken:
            raise internal("STR_001", self._taken)
        try:
            return await self._ask(work, self._requests)
        except sa.exc.DBAPIError as problem:
            _refuse_nul(problem)
            reason = self._backend.why_not_written(problem.orig) or "is the disk full?"
            raise internal("STR_001", f"cannot write the database: {reason} Retry") from problem
        except _CommitFailed as problem:
            text = "the database or its disk failed meanwhile; check whether the change was stored before you retry"
            raise OutcomeUnknown(Kind.INTERNAL, "STR_001", text) from problem
        except _DAMAGED as problem:
            raise internal("STR_001", f"the database is damaged: {problem}; restore it from a backup") from problem

    def run_now(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs ``work`` and blocks until it is done. For startup only. Raises SettingsError."""
        done: Future[T] = Future()
        self._requests.put(_Request(work, lambda value, problem: _settle(done, value, problem)))
        try:
            return done.result()
        except (*_UNUSABLE, _CommitFailed) as problem:
            raise self._backend.unusable(problem) from problem

    def close(self) -> None:
        """Serves the queued requests, then stops."""
        self._requests.put(None)
        self._searches.put(None)
        self._thread.join()
        if self._searching is not None:
            self._searching.join()
        self._engine.dispose()
        self._claim.release()

    def _check_integrity(self) -> None:
        if found := self._backend.integrity():
            self._note_damage(found)

    def _damage_of(self, problem: BaseException) -> str:
        if isinstance(problem, _DAMAGED):
            return str(problem)
        return self._backend.damage_of(problem.orig) if isinstance(problem, sa.exc.DBAPIError) else ""

    def _note_damage(self, what: str) -> None:
        if not self._damage:
            log.error("database %s is damaged: %s; restore it from a backup", self._backend.name, what)
        self._damage = what

    async def _ask(self, work: Callable[[sa.Connection], T], requests: queue.SimpleQueue[_Request | None]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        requests.put(_Request(work, lambda value, problem: _tell(loop, done, value, problem)))
        return await done

    def _serve(self, requests: queue.SimpleQueue[_Request | None], engine: sa.Engine, most: int) -> None:
        while True:
            batch = [requests.get()]
            while len(batch) < most and batch[-1] is not None and not requests.empty():
                batch.append(requests.get())
            works = [request for request in batch if request is not None]
            if works:
                self._do(works, engine)
            if batch[-1] is None:
                engine.dispose()
                return

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Waits, within a change, until no other process makes one that has a lock of this name."""
        self._backend.lock(connection, name)

    def _passes(self, problem: sa.exc.DBAPIError) -> bool:
        return self._backend.may_pass(problem.orig)

    def _do(self, works: list[_Request], engine: sa.Engine, again: int = _MOST_AGAIN) -> None:
        committing = False
        try:
            with engine.begin() as connection:
                values = [request.work(connection) for request in works]
                committing = True
        except BaseException as problem:
            if damage := self._damage_of(problem):
                self._note_damage(damage)
            # If the connection was lost during the commit, the changes may be stored: do not make them again.
            unknown = committing and isinstance(problem, sa.exc.DBAPIError) and problem.connection_invalidated
            for request in works:
                if unknown:
                    request.done(None, _CommitFailed(problem))
                elif len(works) == 1 and again and isinstance(problem, sa.exc.DBAPIError) and self._passes(problem):
                    time.sleep(random.uniform(0, _PAUSE_SECONDS))
                    self._do(works, engine.execution_options(waits=True), again - 1)
                elif len(works) == 1:
                    request.done(None, problem)
                else:
                    self._do([request], engine)
            return
        for request, value in zip(works, values, strict=True):
            request.done(value, None)

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            migrate(self._backend, connection)


def _refuse_nul(problem: Exception) -> None:
    """Text in PostgreSQL cannot contain NUL characters (PostgreSQL, section 8.3)."""
    if isinstance(problem, sa.exc.DataError) and "NUL" in str(problem.orig):
        raise invalid_request("a text in the request contains a NUL character; remove it") from problem


def _settle(done: Future[T], value: T, problem: BaseException | None) -> None:
    if problem is None:
        done.set_result(value)
    else:
        done.set_exception(problem)


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], value: T, problem: BaseException | None) -> None:
    def tell() -> None:
        # The caller may have been cancelled; the work is done anyway.
        if done.done():
            return
        if problem is None:
            done.set_result(value)
        else:
            done.set_exception(problem)

    # The loop may already be closed.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)
