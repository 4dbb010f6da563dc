"""Records in a SQL database: SQLite here. Commits are durable (WAL, synchronous=FULL)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import alembic.command
import alembic.config
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cco_sidecar.core.errors import SettingsError, SidecarError, internal
from cco_sidecar.storage.base import MOST_OUTCOMES, PAGE_BYTES, Outcome, ResultTotals, StoredResult
from cco_sidecar.storage.schema import results, revocations
from orchestra.v1.result_service_pb2 import RESULT_STATUS_FAILED, Result

log = logging.getLogger(__name__)

T = TypeVar("T")
_MOST_AT_ONCE = 64
_PROBE_SECONDS = 0.02
# Statements that read pages of each table.
_PROBES = tuple(
    f"SELECT number FROM {table} ORDER BY number DESC LIMIT 1" for table in ("results", "agents", "approvals")
)


class _Asked(NamedTuple):
    """``done`` gets what ``work`` gave, or its exception."""

    work: Callable[[sa.Connection], Any]
    done: Callable[[Any, BaseException | None], None]


class Records:
    """The database: one connection, one thread, works in the order in which they were asked for.

    What waits is done in one transaction (group commit): a commit costs a disk's sync, not the works in it. When one of
    them fails, each is done again in a transaction of its own, so that no work suffers from another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = sa.create_engine(
            f"sqlite:///{path}",
            poolclass=sa.StaticPool,
            connect_args={"check_same_thread": False},
            # An error that is logged holds no task and no environment.
            hide_parameters=True,
        )
        sa.event.listen(self._engine, "connect", _durable)
        # The driver's own idea of when a transaction begins is switched off in _durable.
        sa.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self._damage = ""
        self._probing: asyncio.Future[None] | None = None
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        try:
            self._migrate()
        except sa.exc.DatabaseError as problem:
            self._engine.dispose()
            raise _unusable(path, problem) from problem
        self._thread = threading.Thread(target=self._serve, name="records", daemon=True)
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
        self._asked.put(_Asked(work, lambda value, problem: _settle(done, value, problem)))
        try:
            return done.result()
        except sa.exc.DBAPIError as problem:
            raise _unusable(self._path, problem) from problem

    def close(self) -> None:
        """Does what was asked for before."""
        self._asked.put(None)
        self._thread.join()
        self._engine.dispose()

    def _check_integrity(self) -> None:
        """In a connection of its own, so that nobody waits for it (pragma quick_check)."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True)) as own:
                (found,) = own.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                self._note_damage(found)
        except sqlite3.DatabaseError as problem:
            if _is_damage(problem):
                self._note_damage(str(problem))

    def _note_damage(self, what: str) -> None:
        if not self._damage:
            log.error("database %s is damaged: %s; restore it from a backup", self._path, what)
        self._damage = what

    async def _ask(self, work: Callable[[sa.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._asked.put(_Asked(work, lambda value, problem: _tell(loop, done, value, problem)))
        return await done

    def _serve(self) -> None:
        while True:
            batch = [self._asked.get()]
            while len(batch) < _MOST_AT_ONCE and batch[-1] is not None and not self._asked.empty():
                batch.append(self._asked.get())
            works = [asked for asked in batch if asked is not None]
            if works:
                self._do(works)
            if batch[-1] is None:
                return

    def _do(self, works: list[_Asked]) -> None:
        try:
            with self._engine.begin() as connection:
                values = [asked.work(connection) for asked in works]
        except BaseException as problem:
            if isinstance(problem, sa.exc.DBAPIError) and _is_damage(problem.orig):
                self._note_damage(str(problem.orig))
            if len(works) == 1:
                works[0].done(None, problem)
                return
            for asked in works:
                self._do([asked])
            return
        for asked, value in zip(works, values, strict=True):
            asked.done(value, None)

    def _migrate(self) -> None:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        with self._engine.begin() as connection:
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")


def _unusable(path: Path, problem: sa.exc.DBAPIError) -> SettingsError:
    full = "full" in str(problem.orig)
    mend = "free some space" if full else "restore it from a backup"
    return SettingsError(f"database {path} cannot be used: {problem.orig}; {mend}")


def _is_damage(problem: BaseException | None) -> bool:
    """Of the file, not of the statement or of the space that is left (sqlite.org/rescode.html)."""
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


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


def _milliseconds(reported: float | None) -> float | None:
    """What can be a duration; an agent may report anything."""
    return reported if reported is not None and 0 <= reported <= 1e12 else None


class SqlResults:
    """ResultStore on Records."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._versions: Counter[tuple[str, str]] = Counter()
        self._bytes: dict[str, int] = {}

    async def add(self, result: Result, session: str = "") -> int:
        metrics = result.result.metrics
        row = {
            "id": result.id,
            "project_id": result.project_id,
            "issue_id": result.issue_id,
            "agent_type": result.agent_type,
            "session": session,
            "status": result.result.status,
            "execution_ms": _milliseconds(metrics.get("execution_time_ms")),
            "event_id": "",
            "body": result.SerializeToString(),
        }
        inserted = await self._records.write(lambda c: c.execute(sa.insert(results).values(row)))
        self._versions[result.project_id, result.issue_id] += 1
        self._versions[result.project_id, ""] += 1
        if result.project_id in self._bytes:
            self._bytes[result.project_id] += result.ByteSize()
        return int(inserted.inserted_primary_key[0])  # type: ignore[index]

    async def set_event(self, result_id: str, event_id: str) -> None:
        change = sa.update(results).where(results.c.id == result_id).values(event_id=event_id)
        await self._records.write(lambda c: c.execute(change))

    async def unpublished(self) -> Sequence[StoredResult]:
        return await self._rows(sa.select(results).where(results.c.event_id == "").order_by(results.c.number))

    async def by_id(self, project: str, result_id: str) -> StoredResult | None:
        query = sa.select(results).where(results.c.project_id == project, results.c.id == result_id)
        return next(iter(await self._rows(query)), None)

    async def newest(self, project: str, issue: str, agent_type: str) -> StoredResult | None:
        return next(iter(await self.page(project, issue=issue, agent_type=agent_type, limit=1)), None)

    async def newest_of(self, session: str) -> str:
        if not session:
            return ""
        query = sa.select(results.c.id).where(results.c.session == session).order_by(results.c.number.desc()).limit(1)
        return await self._records.read(lambda c: c.execute(query).scalar()) or ""

    async def page(
        self,
        project: str,
        *,
        issue: str = "",
        agent_type: str = "",
        before: int | None = None,
        limit: int = 100,
        latest: bool = False,
    ) -> Sequence[StoredResult]:
        # Numbers and sizes first: a sort that carries the bodies along would read them all.
        query = sa.select(results.c.number, sa.func.length(results.c.body)).where(results.c.project_id == project)
        if issue:
            query = query.where(results.c.issue_id == issue)
        if agent_type:
            query = query.where(results.c.agent_type == agent_type)
        if latest:
            key = (results.c.project_id, results.c.issue_id, results.c.agent_type)
            query = query.where(results.c.number.in_(sa.select(sa.func.max(results.c.number)).group_by(*key)))
        if before is not None:
            query = query.where(results.c.number < before)
        query = query.order_by(results.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> list[StoredResult]:
            numbers = _up_to(connection.execute(query), PAGE_BYTES)
            rows = connection.execute(sa.select(results).where(results.c.number.in_(numbers))).all()
            found = sorted(rows, key=lambda row: -int(row.number))
            return [StoredResult(row.number, Result.FromString(row.body), row.event_id) for row in found]

        return await self._records.read(work)

    async def outcomes(self, project: str, issue: str, *, before: str) -> Sequence[Outcome]:
        number = sa.select(results.c.number).where(results.c.id == before).scalar_subquery()
        query = sa.select(results.c.agent_type, results.c.status).where(
            results.c.project_id == project, results.c.issue_id == issue, results.c.number < number
        )
        query = query.order_by(results.c.number.desc()).limit(MOST_OUTCOMES)
        return await self._records.read(lambda c: [Outcome(*row) for row in c.execute(query)])

    async def stored_bytes(self, project: str) -> int:
        if project not in self._bytes:
            size = sa.func.coalesce(sa.func.sum(sa.func.length(results.c.body)), 0)
            query = sa.select(size).where(results.c.project_id == project)
            self._bytes[project] = await self._records.read(lambda c: int(c.execute(query).scalar_one()))
        return self._bytes[project]

    async def totals(self) -> ResultTotals:
        failed = sa.func.count().filter(results.c.status == RESULT_STATUS_FAILED)
        query = sa.select(sa.func.count(), failed, sa.func.avg(results.c.execution_ms)).select_from(results)
        count, failures, mean = await self._records.read(lambda c: c.execute(query).one())
        return ResultTotals(count - failures, failures, mean or 0.0)

    def version(self, project: str, issue: str) -> int:
        return self._versions[project, issue]

    async def _rows(self, query: sa.Select[Any]) -> list[StoredResult]:
        rows = await self._records.read(lambda c: c.execute(query).all())
        return [StoredResult(row.number, Result.FromString(row.body), row.event_id) for row in rows]


def _up_to(sized: Iterable[tuple[int, int]], most: int) -> list[int]:
    """Numbers of which the sizes together are no more than ``most``; at least one."""
    found: list[int] = []
    for number, size in sized:
        most -= size
        if found and most < 0:
            break
        found.append(number)
    return found


class SqlRevocations:
    """RevocationStore on Records."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def revoke(self, kind: str, value: str, at: float, until: float) -> None:
        row = {"kind": kind, "value": value, "at": at, "until": until}
        change = sqlite.insert(revocations).values(row)
        change = change.on_conflict_do_update(index_elements=["kind", "value"], set_={"at": at, "until": until})
        await self._records.write(lambda c: c.execute(change))

    def load(self, now: float) -> Sequence[tuple[str, str, float]]:
        def work(connection: sa.Connection) -> list[tuple[str, str, float]]:
            connection.execute(sa.delete(revocations).where(revocations.c.until < now))
            rows = connection.execute(sa.select(revocations)).all()
            return [(row.kind, row.value, row.at) for row in rows]

        return self._records.run_now(work)
