"""The SQL database: one connection, one thread, group commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import alembic.command
import alembic.config
import sqlalchemy as sa

from cco_sidecar.core.errors import SidecarError, internal
from cco_sidecar.storage.sql.backends import Backend

log = logging.getLogger(__name__)

T = TypeVar("T")
_MOST_AT_ONCE = 64
_PROBE_SECONDS = 0.02
# Statements that read pages of each table.
_PROBES = tuple(
    f"SELECT number FROM {table} ORDER BY number DESC LIMIT 1" for table in ("results", "agents", "approvals")
)
# Of several processes that start at once only one migrates (pg_advisory_xact_lock); any fixed number.
_MIGRATION_LOCK = 0x6363_6F00


class _Request(NamedTuple):
    """``done`` gets what ``work`` returned, or its exception."""

    work: Callable[[sa.Connection], Any]
    done: Callable[[Any, BaseException | None], None]


class Database:
    """Requests are served in the order in which they came, by one thread with one connection.

    What waits is done in one transaction (group commit): a commit costs a disk's sync, not the works in it. When one of
    them fails, each is done again in a transaction of its own, so that none suffers from another.
    """

    def __init__(self, backend: Backend) -> None:
        """Opens and migrates it. Raises SettingsError."""
        self._backend = backend
        self.shared = backend.shared
        self.insert = backend.insert
        self._engine = backend.engine()
        self._damage = ""
        self._probing: asyncio.Future[None] | None = None
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        try:
            self._migrate()
        except sa.exc.DBAPIError as problem:
            self._engine.dispose()
            raise backend.unusable(problem) from problem
        self._thread = threading.Thread(target=self._serve, name="database", daemon=True)
        self._thread.start()
        threading.Thread(target=self._check_integrity, name="integrity", daemon=True).start()

    async def damage(self) -> str:
        """What is wrong with the database; empty when it can be read. A damaged one stays so until it is restored. Who
        asks does not wait for what others have the database do."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(self._probe())
        await asyncio.wait({self._probing}, timeout=_PROBE_SECONDS)
        return self._damage

    async def _probe(self) -> None:
        with contextlib.suppress(SidecarError):
            await self.read(lambda connection: [connection.exec_driver_sql(query).first() for query in _PROBES])

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs ``work`` off the event loop. Raises SidecarError (STR_002)."""
        try:
            return await self._ask(work)
        except sa.exc.DBAPIError as problem:
            raise internal("STR_002", "the database could not be read; try again") from problem

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """The same for a change, committed when it returns. Raises SidecarError (STR_001)."""
        try:
            return await self._ask(work)
        except sa.exc.DBAPIError as problem:
            raise internal("STR_001", "the database could not be written; is the disk full? Try again") from problem

    def run_now(self, work: Callable[[sa.Connection], T]) -> T:
        """Waits for it: for the start, before the event loop matters. Raises SettingsError."""
        done: Future[T] = Future()
        self._requests.put(_Request(work, lambda value, problem: _settle(done, value, problem)))
        try:
            return done.result()
        except sa.exc.DBAPIError as problem:
            raise self._backend.unusable(problem) from problem

    def close(self) -> None:
        """Serves what was asked for before."""
        self._requests.put(None)
        self._thread.join()
        self._engine.dispose()

    def _check_integrity(self) -> None:
        if found := self._backend.integrity():
            self._note_damage(found)

    def _note_damage(self, what: str) -> None:
        if not self._damage:
            log.error("database %s is damaged: %s; restore it from a backup", self._backend.name, what)
        self._damage = what

    async def _ask(self, work: Callable[[sa.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._requests.put(_Request(work, lambda value, problem: _tell(loop, done, value, problem)))
        return await done

    def _serve(self) -> None:
        while True:
            batch = [self._requests.get()]
            while len(batch) < _MOST_AT_ONCE and batch[-1] is not None and not self._requests.empty():
                batch.append(self._requests.get())
            works = [request for request in batch if request is not None]
            if works:
                self._do(works)
            if batch[-1] is None:
                return

    def _do(self, works: list[_Request]) -> None:
        try:
            with self._engine.begin() as connection:
                values = [request.work(connection) for request in works]
        except BaseException as problem:
            if isinstance(problem, sa.exc.DBAPIError) and (damage := self._backend.damage_of(problem.orig)):
                self._note_damage(damage)
            if len(works) == 1:
                works[0].done(None, problem)
                return
            for request in works:
                self._do([request])
            return
        for request, value in zip(works, values, strict=True):
            request.done(value, None)

    def _migrate(self) -> None:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")


def _settle(done: Future[T], value: T, problem: BaseException | None) -> None:
    if problem is None:
        done.set_result(value)
    else:
        done.set_exception(problem)


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], value: T, problem: BaseException | None) -> None:
    def tell() -> None:
        # Whoever asked may have gone away; the work is done all the same.
        if done.done():
            return
        if problem is None:
            done.set_result(value)
        else:
            done.set_exception(problem)

    # The loop may be closed already.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)
