"""Tables of messages: a project, a name within it, and the serialised message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import sqlalchemy as sa
from google.protobuf.message import Message

from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Connected

M = TypeVar("M", bound=Message)


class KeyedMessages(Generic[M]):
    """``name`` is the column and the field that names a message within its project; ``body`` is the message."""

    def __init__(self, database: Connected, table: sa.Table, name: str, message_type: type[M]) -> None:
        self._database = database
        self._table = table
        self._name = name
        self._message_type = message_type

    async def put(self, message: M) -> None:
        """Adds or replaces a message."""
        key = {name: getattr(message, name) for name in ("project_id", self._name)}
        body = {"body": message.SerializeToString()}
        insert = self._database.insert(self._table).values(key | body)
        change = insert.on_conflict_do_update(index_elements=list(key), set_=body)
        await self._database.write(lambda c: c.execute(change))

    async def all(self) -> Sequence[M]:
        rows = await self._database.read(lambda c: c.execute(whole(self._table)).all())
        return [self._message_type.FromString(row.body) for row in rows]

    async def delete(self, project: str, name: str) -> None:
        change = sa.delete(self._table).where(self._is(project, name))
        await self._database.write(lambda c: c.execute(change))

    def _is(self, project: str, name: str) -> sa.ColumnElement[bool]:
        columns = self._table.c
        return sa.and_(columns.project_id == project, columns[self._name] == name)
