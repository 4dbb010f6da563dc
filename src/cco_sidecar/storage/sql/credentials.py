"""The credentials table. Values are encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cco_sidecar.storage.base import SealedCredential
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import credentials


class SqlCredentials:
    """Implements CredentialStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, credential: SealedCredential) -> SealedCredential:
        insert = self._database.insert(credentials).values(credential._asdict())
        change = insert.on_conflict_do_update(
            index_elements=["name"], set_={"sealed": credential.sealed, "updated": credential.updated}
        ).returning(*credentials.c)
        return await self._database.write(lambda c: SealedCredential(*c.execute(change).one()))

    async def get(self, name: str) -> SealedCredential | None:
        query = whole(credentials).where(credentials.c.name == name)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return _credential(row) if row is not None else None

    async def all(self) -> Sequence[SealedCredential]:
        query = whole(credentials).order_by(credentials.c.name)
        return [_credential(row) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def delete(self, name: str) -> bool:
        change = sa.delete(credentials).where(credentials.c.name == name)
        return await self._database.write(lambda c: c.execute(change).rowcount > 0)


def _credential(row: sa.Row[Any]) -> SealedCredential:
    return SealedCredential(row.name, row.sealed, row.created, row.updated)
