"""The table of what agents learned, and the index of its words."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from cco_sidecar.core.clock import micros_of
from cco_sidecar.core.terms import Term
from cco_sidecar.storage.knowledge import MAX_PENDING, FoundEntry, StoredEntry, Wanted
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import knowledge
from cco_sidecar.storage.sql.words import KNOWLEDGE_WORDS, words_in
from orchestra.v1.knowledge_service_pb2 import KNOWLEDGE_STATUS_APPROVED, KNOWLEDGE_STATUS_PENDING, KnowledgeEntry

T = TypeVar("T")


class SqlKnowledge:
    """Implements KnowledgeStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words = words_in(database, KNOWLEDGE_WORDS)
        # Of each project: how often this process changed it, and what its version was then.
        self._changes: Counter[str] = Counter()
        self._versions: dict[str, tuple[int, tuple[int, ...]]] = {}

    async def add(self, entry: KnowledgeEntry) -> KnowledgeEntry:
        return await self._write(entry.project_id, lambda c: self.insert(c, [entry])[0])

    async def _write(self, project: str, work: Callable[[sa.Connection], T]) -> T:
        try:
            return await self._database.write(work)
        finally:
            self.changed(project)

    def changed(self, project: str) -> None:
        """Must be called after `insert`, when its transaction has ended."""
        self._changes[project] += 1

    def insert(self, connection: sa.Connection, entries: Iterable[KnowledgeEntry]) -> list[KnowledgeEntry]:
        """Adds entries of one issue in a transaction. Returns each, or the one that has its kind and text already."""
        given = list(entries)
        if given:
            # One process at a time: of an issue, each text is there once, and so many may be pending.
            self._database.lock(connection, f"knowledge {given[0].project_id} {given[0].issue_id}")
        stored = [self._insert(connection, entry) for entry in given]
        if stored:
            self._make_room(connection, stored[0].project_id, stored[0].issue_id)
        return stored

    def _insert(self, connection: sa.Connection, entry: KnowledgeEntry) -> KnowledgeEntry:
        names = {
            "project_id": entry.project_id,
            "issue_id": entry.issue_id,
            "kind": entry.kind,
            "digest": hashlib.sha256(" ".join(entry.text.split()).encode()).digest(),
        }
        insert = self._database.insert(knowledge).values(names | {"entry_id": entry.entry_id} | _changing(entry))
        inserted = insert.on_conflict_do_nothing(index_elements=list(names)).returning(knowledge.c.number)
        row = connection.execute(inserted).first()
        if row is not None:
            self._words.add(connection, row.number, entry.text)
            return entry
        known = whole(knowledge).where(*(knowledge.c[name] == value for name, value in names.items()))
        return KnowledgeEntry.FromString(connection.execute(known).one().body)

    def _make_room(self, connection: sa.Connection, project: str, issue: str) -> None:
        pending = whole(knowledge).where(
            knowledge.c.project_id == project,
            knowledge.c.issue_id == issue,
            knowledge.c.status == KNOWLEDGE_STATUS_PENDING,
        )
        oldest = pending.order_by(knowledge.c.number.desc()).offset(MAX_PENDING).limit(MAX_PENDING)
        if self._database.shared:
            # Not one that another process approves at this moment.
            oldest = oldest.with_for_update(skip_locked=True)
        for row in connection.execute(oldest).all():
            self._remove(connection, row.number, KnowledgeEntry.FromString(row.body))

    def _remove(self, connection: sa.Connection, number: int, entry: KnowledgeEntry) -> None:
        self._words.remove(connection, number, entry.text)
        connection.execute(sa.delete(knowledge).where(knowledge.c.number == number))

    async def by_id(self, project: str, entry_id: str) -> KnowledgeEntry | None:
        found = await self._database.read(lambda c: self._stored(c, project, entry_id))
        return found.entry if found is not None else None

    async def page(
        self, project: str, wanted: Wanted, *, before: int | None = None, limit: int = 100
    ) -> Sequence[StoredEntry]:
        query = whole(knowledge).where(*_conditions(project, wanted))
        if before is not None:
            query = query.where(knowledge.c.number < before)
        query = query.order_by(knowledge.c.number.desc()).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [StoredEntry(row.number, KnowledgeEntry.FromString(row.body)) for row in rows]

    async def search(
        self, project: str, terms: Sequence[Term], wanted: Wanted, *, some: bool = False, limit: int = 20
    ) -> Sequence[FoundEntry]:
        ranked = self._words.ranks(terms, some=some).subquery("ranked")
        query = sa.select(knowledge.c.number, ranked.c.rank).join(ranked, ranked.c.number == knowledge.c.number)
        query = query.where(*_conditions(project, wanted))
        query = query.order_by(ranked.c.rank.desc(), knowledge.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> list[FoundEntry]:
            ranks = connection.execute(query).all()
            chosen = whole(knowledge).where(knowledge.c.number.in_([row.number for row in ranks]))
            bodies = {row.number: row.body for row in connection.execute(chosen)}
            # Others may have been deleted meanwhile.
            there = [row for row in ranks if row.number in bodies]
            return [FoundEntry(KnowledgeEntry.FromString(bodies[row.number]), row.rank) for row in there]

        return await self._database.search(work)

    async def change(
        self, project: str, entry_id: str, make: Callable[[KnowledgeEntry], None]
    ) -> KnowledgeEntry | None:
        def work(connection: sa.Connection) -> KnowledgeEntry | None:
            found = self._stored(connection, project, entry_id, lock=self._database.shared)
            if found is None:
                return None
            make(found.entry)
            update = sa.update(knowledge).where(knowledge.c.number == found.number)
            connection.execute(update.values(_changing(found.entry)))
            return found.entry

        return await self._write(project, work)

    async def delete(self, project: str, entry_id: str, check: Callable[[KnowledgeEntry], None]) -> bool:
        def work(connection: sa.Connection) -> bool:
            found = self._stored(connection, project, entry_id, lock=self._database.shared)
            if found is None:
                return False
            check(found.entry)
            self._remove(connection, found.number, found.entry)
            return True

        return await self._write(project, work)

    async def version(self, project: str) -> tuple[int, ...]:
        # Every context asks for it.
        changes, version = self._versions.get(project, (-1, (0,)))
        if self._database.shared or changes != self._changes[project]:
            changes, version = self._changes[project], await self._read_version(project)
            self._versions[project] = (changes, version)
        return version

    async def _read_version(self, project: str) -> tuple[int, ...]:
        # An entry may be approved at a time before that of another: the newest alone does not tell.
        numbers, newest = sa.func.sum(knowledge.c.number), sa.func.max(knowledge.c.approved)
        query = sa.select(sa.func.count(), sa.func.coalesce(numbers, 0), sa.func.coalesce(newest, 0)).where(
            knowledge.c.project_id == project, knowledge.c.status == KNOWLEDGE_STATUS_APPROVED
        )
        found = await self._database.read(lambda c: c.execute(query).one())
        return tuple(map(int, found))

    def _stored(
        self, connection: sa.Connection, project: str, entry_id: str, *, lock: bool = False
    ) -> StoredEntry | None:
        query = whole(knowledge).where(knowledge.c.project_id == project, knowledge.c.entry_id == entry_id)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        return StoredEntry(row.number, KnowledgeEntry.FromString(row.body)) if row is not None else None


def _changing(entry: KnowledgeEntry) -> dict[str, object]:
    """Returns the columns that an approval changes."""
    approved = micros_of(entry.approved_at) if entry.HasField("approved_at") else 0
    return {"status": entry.status, "approved": approved, "body": entry.SerializeToString()}


def _conditions(project: str, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    conditions = [knowledge.c.project_id == project]
    if wanted.kind:
        conditions.append(knowledge.c.kind == wanted.kind)
    if wanted.status:
        conditions.append(knowledge.c.status == wanted.status)
    if wanted.issue:
        conditions.append(knowledge.c.issue_id == wanted.issue)
    if wanted.reader is not None:
        approved = knowledge.c.status == KNOWLEDGE_STATUS_APPROVED
        conditions.append(sa.or_(knowledge.c.issue_id == wanted.reader, approved))
    return conditions
