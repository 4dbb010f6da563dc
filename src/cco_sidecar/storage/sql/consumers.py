"""The tables of consumers and dead letters."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from cco_sidecar.storage.base import PAGE_BYTES
from cco_sidecar.storage.event_stores import MAX_LETTER_BYTES, Announcement, ConsumerChange, StoredLetter
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Connected
from cco_sidecar.storage.sql.outbox import enqueue
from cco_sidecar.storage.sql.schema import consumers, dead_letters
from orchestra.v1.consumer_service_pb2 import Consumer, DeadLetter


class SqlConsumers:
    """Implements ConsumerStore."""

    def __init__(self, database: Connected) -> None:
        self._database = database

    async def add(self, consumer: Consumer) -> None:
        row = {"project_id": consumer.project_id, "name": consumer.name, "body": consumer.SerializeToString()}
        await self._database.write(lambda c: c.execute(sa.insert(consumers).values(row)))

    async def all(self) -> Sequence[Consumer]:
        query = whole(consumers).order_by(consumers.c.project_id, consumers.c.name)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [Consumer.FromString(row.body) for row in rows]

    async def save(self, change: ConsumerChange) -> Sequence[Announcement]:
        consumer = change.consumer
        project = consumer.project_id
        update = sa.update(consumers).where(consumers.c.project_id == project, consumers.c.name == consumer.name)
        update = update.values(body=consumer.SerializeToString())

        def work(connection: sa.Connection) -> Sequence[Announcement]:
            if not connection.execute(update).rowcount:
                return []
            for letter in change.letters:
                self._put(connection, letter)
            if change.settled:
                connection.execute(sa.delete(dead_letters).where(dead_letters.c.dead_letter_id.in_(change.settled)))
            if change.letters:
                _make_room(connection, project)
            return [enqueue(connection, project, event) for event in change.events if event is not None]

        return await self._database.write(work)

    def _put(self, connection: sa.Connection, letter: DeadLetter) -> None:
        row = {
            "dead_letter_id": letter.dead_letter_id,
            "project_id": letter.project_id,
            "consumer": letter.consumer,
            "body": letter.SerializeToString(),
        }
        insert = self._database.insert(dead_letters).values(row)
        connection.execute(insert.on_conflict_do_update(index_elements=["dead_letter_id"], set_={"body": row["body"]}))

    async def delete(self, project: str, name: str) -> int:
        of_consumer = sa.and_(dead_letters.c.project_id == project, dead_letters.c.consumer == name)

        def work(connection: sa.Connection) -> int:
            connection.execute(sa.delete(consumers).where(consumers.c.project_id == project, consumers.c.name == name))
            return connection.execute(sa.delete(dead_letters).where(of_consumer)).rowcount

        return await self._database.write(work)

    async def letter(self, project: str, dead_letter_id: str) -> DeadLetter | None:
        query = whole(dead_letters).where(
            dead_letters.c.project_id == project, dead_letters.c.dead_letter_id == dead_letter_id
        )
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return DeadLetter.FromString(row.body) if row is not None else None

    async def letters(self, project: str, consumer: str, ids: Sequence[str], limit: int = 1000) -> Sequence[DeadLetter]:
        query = whole(dead_letters).where(dead_letters.c.project_id == project, dead_letters.c.consumer == consumer)
        if ids:
            query = query.where(dead_letters.c.dead_letter_id.in_(ids))
        query = query.order_by(dead_letters.c.number).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [DeadLetter.FromString(row.body) for row in rows]

    async def letter_page(
        self, project: str, consumer: str, *, before: int | None = None, limit: int = 100
    ) -> Sequence[StoredLetter]:
        query = whole(dead_letters).where(dead_letters.c.project_id == project)
        if consumer:
            query = query.where(dead_letters.c.consumer == consumer)
        if before is not None:
            query = query.where(dead_letters.c.number < before)
        query = query.order_by(dead_letters.c.number.desc()).limit(limit)

        def work(connection: sa.Connection) -> Sequence[StoredLetter]:
            found: list[StoredLetter] = []
            size = 0
            for row in connection.execute(query):
                size += len(row.body)
                if found and size > PAGE_BYTES:
                    break
                found.append(StoredLetter(row.number, DeadLetter.FromString(row.body)))
            return found

        return await self._database.read(work)

    async def letter_count(self, project: str, consumer: str) -> int:
        query = sa.select(sa.func.count()).where(
            dead_letters.c.project_id == project, dead_letters.c.consumer == consumer
        )
        return int(await self._database.read(lambda c: c.execute(query).scalar_one()))

    async def delete_letter(self, project: str, dead_letter_id: str) -> bool:
        change = sa.delete(dead_letters).where(
            dead_letters.c.project_id == project, dead_letters.c.dead_letter_id == dead_letter_id
        )
        return bool(await self._database.write(lambda c: c.execute(change).rowcount))


def _make_room(connection: sa.Connection, project: str) -> None:
    """Deletes the oldest dead letters of a project beyond its quota."""
    size = sa.func.length(dead_letters.c.body)
    of_project = dead_letters.c.project_id == project
    if connection.execute(sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(of_project)).scalar_one() <= (
        MAX_LETTER_BYTES
    ):
        return
    # The number of the newest that no longer fits.
    kept = 0
    query = sa.select(dead_letters.c.number, size).where(of_project).order_by(dead_letters.c.number.desc())
    for number, bytes_ in connection.execute(query):
        kept += bytes_
        if kept > MAX_LETTER_BYTES:
            connection.execute(sa.delete(dead_letters).where(of_project, dead_letters.c.number <= number))
            return
